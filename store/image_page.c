/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Checking the pages of the file before LMDB is let near them: it believes what
 * they say, and follows a damaged one to anywhere.
 *
 * The format is that of LMDB 0.9 on 64-bit little-endian machines, with pages
 * of DISK_PAGE bytes:
 *
 *   page      8 number; 2 pad; 2 flags; 2 lower, 2 upper (of an overflow page:
 *             4 number of pages); from byte 16 on 2-byte offsets of nodes, up
 *             to lower; nodes from upper to the end
 *   node      4 length of the data; 2 flags; 2 length of the key; key; data.
 *             Of a branch, the first 6 bytes are the number of the child
 *   database  4 pad; 2 flags; 2 depth; 8 each: branch, leaf and overflow
 *             pages, entries, root
 *   meta      behind the header: 4 magic; 4 version; 8 address; 8 map size; the
 *             databases of free pages and of names; 8 last page; 8 transaction
 */
#include "fault.h"
#include "image.h"

#include <errno.h>
#include <sys/mman.h>
#include <sys/stat.h>

typedef unsigned long long ull;

enum {
	PAGE_HEADER = 16,
	PAGE_BRANCH = 1,
	PAGE_LEAF = 2,
	PAGE_OVERFLOW = 4,
	PAGE_TYPE = 0x6f, /* what is not a passing mark in memory */
	NODE_HEAD = 8,
	NODE_BIG = 1, /* the data is the number of an overflow page */
	NODE_SUB = 2, /* the data is a database */
	DB_LEN = 48,
	DEPTH_MAX = 32,
	META_MAGIC = 0,
	META_DBS = 24,
	META_LAST = META_DBS + 2 * DB_LEN,
	META_TXN = META_LAST + 8,
	META_LEN = META_TXN + 8,
	FAULTS_MAX = 1000, /* then it is enough */
};
#define NO_PAGE UINT64_MAX

struct database {
	const char *name;
	uint16_t flags, depth;
	uint64_t branches, leaves, overflows, entries, root;
	/* as found */
	uint64_t found_branches, found_leaves, found_overflows, found_entries;
	bool bad;
};

struct pages {
	struct image *image;
	const char *only; /* the one database to look at; NULL: all, and more */
	const uint8_t *map;
	size_t len;     /* bytes of the file */
	uint64_t count; /* pages in use at most */
	uint8_t *seen;  /* a bit for each */
	struct database free, main;
	struct database *db; /* that is being walked */
	unsigned faults;
	bool unsafe;
};

static uint16_t u16(const uint8_t *p)
{
	uint16_t v;

	memcpy(&v, p, sizeof(v));
	return le16toh(v);
}

static uint64_t u64(const uint8_t *p)
{
	uint64_t v;

	memcpy(&v, p, sizeof(v));
	return le64toh(v);
}

static uint32_t u32(const uint8_t *p)
{
	return u16(p) | (uint32_t)u16(p + 2) << 16;
}

static void fault(struct pages *p, uint64_t page, const char *what)
{
	p->db->bad = true;
	if (p->db != &p->free)
		p->unsafe = true;
	if (p->faults++ < FAULTS_MAX)
		image_report(p->image, "page", 0, NULL,
		             "page %llu of data.mdb (%s): %s", (ull)page,
		             p->db->name, what);
}

/* False: somebody else has it. */
static bool see(struct pages *p, uint64_t page)
{
	uint8_t bit = (uint8_t)(1u << page % 8);

	if (p->seen[page / 8] & bit)
		return false;
	p->seen[page / 8] |= bit;
	return true;
}

/* The page if it has this type, as far as its number can be believed. */
static const uint8_t *page_get(struct pages *p, uint64_t page, unsigned types)
{
	const uint8_t *at;

	if (page < 2 || page >= p->count || (page + 1) * DISK_PAGE > p->len) {
		fault(p, page, "is outside of the file");
		return NULL;
	}
	if (!see(p, page)) {
		fault(p, page, "is in use twice");
		return NULL;
	}
	at = p->map + page * DISK_PAGE;
	if (!fault_is_readable(at)) {
		fault(p, page, "cannot be read");
		return NULL;
	}
	if (u64(at) != page) {
		fault(p, page, "says that it is another");
		return NULL;
	}
	if (!(u16(at + 10) & PAGE_TYPE & types) ||
	    u16(at + 10) & PAGE_TYPE & ~types) {
		fault(p, page, "is of another type");
		return NULL;
	}
	return at;
}

/* ---- Nodes -------------------------------------------------------------- */

struct part {
	const uint8_t *at;
	size_t len;
};

static struct part node_key_part(const uint8_t *node)
{
	return (struct part){node + NODE_HEAD, u16(node + 6)};
}

static int part_compare(const struct database *db, const struct part *a,
                        const struct part *b)
{
	size_t len = MIN(a->len, b->len);
	int order;

	if (db->flags & MDB_INTEGERKEY) {
		uint64_t x = u64(a->at), y = u64(b->at);

		return x < y ? -1 : x > y;
	}
	order = memcmp(a->at, b->at, len);
	return order ? order : (a->len > b->len) - (a->len < b->len);
}

/* NULL, or what is wrong with the page itself. */
static const char *page_fault(const struct database *db, const uint8_t *page)
{
	bool leaf = u16(page + 10) & PAGE_LEAF;
	unsigned lower = u16(page + 12), upper = u16(page + 14);
	unsigned count;

	if (lower < PAGE_HEADER || lower % 2 || upper < lower ||
	    upper > DISK_PAGE)
		return "has bad bounds";
	count = (lower - PAGE_HEADER) / 2;
	if (count < (leaf ? 1 : 2))
		return "has too few entries";
	for (unsigned i = 0; i < count; i++) {
		unsigned at = u16(page + PAGE_HEADER + 2 * i);
		const uint8_t *node = page + at;
		size_t len = NODE_HEAD;

		if (at < upper || at % 2 || at + len > DISK_PAGE)
			return "has an entry out of bounds";
		len += u16(node + 6);
		if (leaf)
			len += u16(node + 4) & NODE_BIG ? 8 : u32(node);
		if (at + len > DISK_PAGE)
			return "has an entry out of bounds";
		if (db->flags & MDB_INTEGERKEY && (i || leaf) &&
		    u16(node + 6) != 8)
			return "has a key of a bad length";
		if (leaf && u16(node + 4) & ~(NODE_BIG | NODE_SUB))
			return "has an entry of unknown kind";
	}
	return NULL;
}

static const uint8_t *page_node(const uint8_t *page, unsigned i)
{
	return page + u16(page + PAGE_HEADER + 2 * i);
}

/* ---- Trees -------------------------------------------------------------- */

/* The data of a leaf's node, wherever it lies; at is NULL if it cannot be. */
static struct part node_data(struct pages *p, const uint8_t *node)
{
	struct part data = {node + NODE_HEAD + u16(node + 6), u32(node)};
	uint64_t page, need, have;
	const uint8_t *at;

	if (!(u16(node + 4) & NODE_BIG))
		return data;
	page = u64(data.at);
	data.at = NULL;
	at = page_get(p, page, PAGE_OVERFLOW);
	if (!at)
		return data;
	need = (PAGE_HEADER + data.len + DISK_PAGE - 1) / DISK_PAGE;
	have = u32(at + 12);
	p->db->found_overflows += have;
	if (have != need || page + have > p->count ||
	    (page + have) * DISK_PAGE > p->len) {
		fault(p, page, "has a bad number of pages");
		return data;
	}
	for (uint64_t i = 1; i < have; i++) {
		if (!see(p, page + i)) {
			fault(p, page + i, "is in use twice");
			return data;
		}
	}
	data.at = at + PAGE_HEADER;
	return data;
}

typedef void leaf_fn(struct pages *p, uint64_t page, const struct part *key,
                     const struct part *data, bool sub);

/* Keys are from low (NULL: no bound) up to below high. */
static void page_walk(struct pages *p, uint64_t number, unsigned depth,
                      const struct part *low, const struct part *high,
                      leaf_fn *fn)
{
	struct database *db = p->db;
	unsigned type = depth == db->depth ? PAGE_LEAF : PAGE_BRANCH;
	const uint8_t *page = page_get(p, number, type);
	struct part last = {0};
	const char *what;
	unsigned count;

	if (!page || p->image->stopped)
		return;
	what = page_fault(db, page);
	if (what) {
		fault(p, number, what);
		return;
	}
	*(type == PAGE_LEAF ? &db->found_leaves : &db->found_branches) += 1;
	count = (u16(page + 12) - PAGE_HEADER) / 2u;
	for (unsigned i = 0; i < count; i++) {
		const uint8_t *node = page_node(page, i);
		struct part key = node_key_part(node), next, data;

		/* A branch's first key is not looked at. */
		if (i || type == PAGE_LEAF) {
			if ((last.at && part_compare(db, &last, &key) >= 0) ||
			    (low && part_compare(db, &key, low) < 0) ||
			    (high && part_compare(db, &key, high) >= 0))
				fault(p, number, "has keys out of order");
			last = key;
		}
		if (type == PAGE_LEAF) {
			data = node_data(p, node);
			db->found_entries++;
			if (data.at)
				fn(p, number, &key, &data,
				   u16(node + 4) & NODE_SUB);
			continue;
		}
		if (i + 1 < count)
			next = node_key_part(page_node(page, i + 1));
		page_walk(p, u32(node) | (uint64_t)u16(node + 4) << 32,
		          depth + 1, i ? &key : low,
		          i + 1 < count ? &next : high, fn);
	}
}

static void database_read(struct database *db, const char *name,
                          const uint8_t *at)
{
	*db = (struct database){
	        .name = name,
	        .flags = u16(at + 4),
	        .depth = u16(at + 6),
	        .branches = u64(at + 8),
	        .leaves = u64(at + 16),
	        .overflows = u64(at + 24),
	        .entries = u64(at + 32),
	        .root = u64(at + 40),
	};
}

static void database_walk(struct pages *p, struct database *db, leaf_fn *fn)
{
	struct database *outer = p->db;

	p->db = db;
	if (db->depth > DEPTH_MAX || (db->root == NO_PAGE) != !db->depth)
		fault(p, db->root, "is the root of a tree of bad depth");
	else if (db->root != NO_PAGE)
		page_walk(p, db->root, 1, NULL, NULL, fn);
	if (!db->bad && (db->branches != db->found_branches ||
	                 db->leaves != db->found_leaves ||
	                 db->overflows != db->found_overflows ||
	                 db->entries != db->found_entries))
		fault(p, db->root,
		      "is the root of a tree that was counted "
		      "otherwise");
	p->db = outer;
}

/* ---- What is in them ---------------------------------------------------- */

static void data_leaf(struct pages *p, uint64_t page, const struct part *key,
                      const struct part *data, bool sub)
{
	if (sub)
		fault(p, page, "has a database in a database");
}

static void main_leaf(struct pages *p, uint64_t page, const struct part *key,
                      const struct part *data, bool sub)
{
	struct database db;
	char name[32];

	if (!sub || data->len != DB_LEN || key->len >= sizeof(name)) {
		fault(p, page, "has an entry that is no database");
		return;
	}
	memcpy(name, key->at, key->len);
	name[key->len] = 0;
	database_read(&db, name, data->at);
	if (!p->only || !strcmp(name, p->only))
		database_walk(p, &db, data_leaf);
}

static void free_leaf(struct pages *p, uint64_t page, const struct part *key,
                      const struct part *data, bool sub)
{
	uint64_t count;

	if (sub || data->len < 8 || data->len % 8) {
		fault(p, page, "has a bad list of free pages");
		return;
	}
	count = u64(data->at);
	if (count > data->len / 8 - 1) {
		fault(p, page, "has a bad list of free pages");
		return;
	}
	for (uint64_t i = 1; i <= count; i++) {
		uint64_t one = u64(data->at + 8 * i);

		if (one < 2 || one >= p->count)
			fault(p, one, "is free, and outside of the file");
		else if (!see(p, one))
			fault(p, one, "is free, and in use");
	}
}

/* ---- All ---------------------------------------------------------------- */

/*
 * The meta page that the transaction began with.  It is written over by the
 * next but one: the caller tries again with a new transaction.  -EAGAIN.
 */
static int meta_read(struct pages *p, uint8_t meta[META_LEN])
{
	uint64_t txn = mdb_txn_id(p->image->txn);

	for (int i = 0; i < 2; i++) {
		const uint8_t *at = p->map + i * DISK_PAGE + PAGE_HEADER;

		if (u64(at + META_TXN) != txn)
			continue;
		memcpy(meta, at, META_LEN);
		__atomic_thread_fence(__ATOMIC_SEQ_CST);
		if (u64(at + META_TXN) == txn)
			return 0;
	}
	return -EAGAIN;
}

static int pages_map(struct pages *p)
{
	struct stat st;
	void *map;
	int fd;

	if (mdb_env_get_fd(p->image->store->disk.env, &fd) || fstat(fd, &st))
		return -EIO;
	if (st.st_size < 2 * DISK_PAGE)
		return -EUCLEAN;
	map = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_SHARED, fd, 0);
	if (map == MAP_FAILED)
		return -errno;
	p->map = map;
	p->len = (size_t)st.st_size;
	return 0;
}

static int pages_begin(struct pages *p, uint8_t meta[META_LEN])
{
	enum { TRIES = 1000 };
	struct disk *disk = &p->image->store->disk;
	int r;

	for (int i = 0; i < TRIES; i++) {
		r = pages_map(p);
		if (r)
			return r;
		r = meta_read(p, meta);
		if (r != -EAGAIN)
			return r;
		munmap((void *)p->map, p->len);
		p->map = NULL;
		disk_read_end(disk, p->image->txn);
		p->image->txn = NULL;
		r = disk_read_begin(disk, &p->image->txn);
		if (r)
			return r;
	}
	return -EAGAIN;
}

static void pages_walk(struct pages *p, const uint8_t *meta)
{
	uint64_t lost = 0;

	database_read(&p->free, "free pages", meta + META_DBS);
	database_read(&p->main, "names", meta + META_DBS + DB_LEN);
	p->free.flags = MDB_INTEGERKEY;
	database_walk(p, &p->main, main_leaf);
	if (p->only)
		return;
	database_walk(p, &p->free, free_leaf);
	for (uint64_t i = 2; i < p->count; i++)
		lost += !(p->seen[i / 8] >> i % 8 & 1);
	if (lost && !p->faults)
		image_report(p->image, "page", 0, NULL,
		             "%llu pages of data.mdb are neither in use nor "
		             "free",
		             (ull)lost);
}

static int scan_pages(struct image *image, const char *only)
{
	struct pages p = {.image = image, .only = only, .main.name = "names"};
	uint8_t meta[META_LEN] = {0};
	int r;

	p.db = &p.main;
	r = pages_begin(&p, meta);
	if (r == 0) {
		p.count = u64(meta + META_LAST) + 1;
		/* Free pages may lie behind the end of the file. */
		if (p.count > image->store->disk.map_size / DISK_PAGE) {
			fault(&p, p.count, "the last page cannot be there");
			p.count = p.len / DISK_PAGE;
		}
		p.seen = calloc(1, (size_t)p.count / 8 + 1);
		if (p.seen)
			pages_walk(&p, meta);
		else
			r = -ENOMEM;
	}
	free(p.seen);
	if (p.map)
		munmap((void *)p.map, p.len);
	if (r || image->stopped)
		return r ? r : image->stopped;
	return p.unsafe ? -EUCLEAN : 0;
}

int image_scan_pages(struct image *image)
{
	return scan_pages(image, NULL);
}

static int found_at_opening(void *arg, const struct damage *damage)
{
	uint64_t *count = arg;

	/* Whoever wanted to open it says that it cannot be: once. */
	(*count)++;
	log_debug("data.mdb: %s", damage->text);
	return 0;
}

int image_check_records(struct store *store)
{
	uint64_t count = 0;
	struct image image = {
	        .store = store,
	        .options = {.found = found_at_opening, .arg = &count},
	};
	int r = disk_read_begin(&store->disk, &image.txn);

	if (r < 0)
		return r;
	r = scan_pages(&image, "records");
	if (image.txn)
		disk_read_end(&store->disk, image.txn);
	return r ? r : count ? -EUCLEAN : 0;
}
