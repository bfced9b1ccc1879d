/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Checks of the pages of the file before LMDB reads them: all pages in use, the
 * lists of free pages, and that each page is in one of the two.
 */
#include "view_page.h"

#include <errno.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "fault.h"
#include "page.h"
#include "view.h"

typedef unsigned long long ull;

enum { FAULTS_MAX = 1000 }; /* faults to report, at most */

struct database {
	const char *name;
	struct page_tree tree;
	/* counted by the walk */
	uint64_t branches, leaves, overflows, entries;
	bool bad;
};

struct pages {
	struct view *view;
	const char *only; /* the database to check; NULL: all, and the free
	                     pages */
	const uint8_t *map;
	size_t len;     /* bytes of the file */
	uint64_t count; /* pages in use at most */
	uint8_t *seen;  /* a bit for each page */
	struct database free, main;
	struct database *db; /* the one that is being walked */
	unsigned faults;
	bool unsafe; /* a fault is not just in the free pages */
	/* for view_each_entry() */
	entry_fn *entry;
	void *arg;
};

static void fault(struct pages *p, uint64_t page, const char *what)
{
	p->db->bad = true;
	if (p->db != &p->free)
		p->unsafe = true;
	if (p->faults++ < FAULTS_MAX)
		view_report(p->view, "page", 0, NULL,
		            "page %llu of data.mdb (%s): %s", (ull)page,
		            p->db->name, what);
}

/* Mark a page as seen.  Return false if it was seen before. */
static bool see(struct pages *p, uint64_t page)
{
	uint8_t bit = (uint8_t)(1u << page % 8);

	if (p->seen[page / 8] & bit)
		return false;
	p->seen[page / 8] |= bit;
	return true;
}

/* Return the page if its number is in bounds and it has this type. */
static const uint8_t *page_get(struct pages *p, uint64_t page, unsigned type)
{
	const uint8_t *at;
	const char *what;

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
	what = page_head_fault(at, page, type);
	if (what) {
		fault(p, page, what);
		return NULL;
	}
	return at;
}

/* ---- Trees -------------------------------------------------------------- */

/*
 * Return the data of a node, in its leaf or in overflow pages; `at` is NULL if
 * the overflow pages are damaged.
 */
static struct page_part data_get(struct pages *p, const uint8_t *node)
{
	struct page_part data = page_node_data(node);
	uint64_t page, have;
	const uint8_t *at;

	if (!(page_node_flags(node) & NODE_BIG))
		return data;
	page = le64_get(data.at);
	data.at = NULL;
	at = page_get(p, page, PAGE_OVERFLOW);
	if (!at)
		return data;
	have = le32_get(at + 12);
	p->db->overflows += have;
	if (!page_big_fits(have, data.len) || page + have > p->count ||
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

typedef void leaf_fn(struct pages *p, uint64_t page,
                     const struct page_part *key, const struct page_part *data,
                     bool sub);

static void leaf_walk(struct pages *p, uint64_t number, const uint8_t *page,
                      leaf_fn *fn)
{
	for (unsigned i = 0; i < page_len(page); i++) {
		const uint8_t *node = page_node(page, i);
		struct page_part key = page_key(page, i);
		struct page_part data = data_get(p, node);

		p->db->entries++;
		if (data.at)
			fn(p, number, &key, &data,
			   page_node_flags(node) & NODE_SUB);
	}
}

/*
 * Walk a page and those below it.  Keys must be from `low` up to below `high`;
 * NULL: no bound.
 */
static void page_walk(struct pages *p, uint64_t number, unsigned depth,
                      const struct page_part *low, const struct page_part *high,
                      leaf_fn *fn)
{
	struct database *db = p->db;
	unsigned type = depth == db->tree.depth ? PAGE_LEAF : PAGE_BRANCH;
	const uint8_t *page = page_get(p, number, type);
	const char *what;

	if (!page || view_stopped(p->view))
		return;
	what = page_body_fault(page, &db->tree);
	if (what) {
		fault(p, number, what);
		return;
	}
	what = page_range_fault(page, &db->tree, low, high);
	if (what)
		fault(p, number, what);
	*(type == PAGE_LEAF ? &db->leaves : &db->branches) += 1;
	if (type == PAGE_LEAF) {
		leaf_walk(p, number, page, fn);
		return;
	}
	for (unsigned i = 0; i < page_len(page); i++) {
		struct page_part key = page_key(page, i), next;

		if (i + 1 < page_len(page))
			next = page_key(page, i + 1);
		page_walk(p, page_node_child(page_node(page, i)), depth + 1,
		          i ? &key : low, i + 1 < page_len(page) ? &next : high,
		          fn);
	}
}

static void database_walk(struct pages *p, struct database *db, leaf_fn *fn)
{
	struct database *outer = p->db;
	const struct page_tree *tree = &db->tree;
	const char *what = page_tree_fault(tree);

	p->db = db;
	if (what)
		fault(p, tree->root, what);
	else if (tree->root != NO_PAGE)
		page_walk(p, tree->root, 1, NULL, NULL, fn);
	if (!db->bad &&
	    (tree->branches != db->branches || tree->leaves != db->leaves ||
	     tree->overflows != db->overflows || tree->entries != db->entries))
		fault(p, tree->root,
		      "is the root of a tree that was counted "
		      "otherwise");
	p->db = outer;
}

/* ---- Entries ------------------------------------------------------------ */

static void data_leaf(struct pages *p, uint64_t page,
                      const struct page_part *key, const struct page_part *data,
                      bool sub)
{
	if (sub)
		fault(p, page, "has a database in a database");
}

/* Return true if all pages of the data can be read. */
static bool data_is_readable(const struct page_part *data)
{
	for (size_t i = 0; i < data->len; i += DISK_PAGE)
		if (!fault_is_readable(data->at + i))
			return false;
	return !data->len || fault_is_readable(data->at + data->len - 1);
}

static void entry_leaf(struct pages *p, uint64_t page,
                       const struct page_part *key,
                       const struct page_part *data, bool sub)
{
	if (p->view->stopped)
		return;
	if (sub || !data_is_readable(data))
		p->view->stopped = -EUCLEAN;
	else
		p->view->stopped = p->entry(p->arg, key, data);
}

static void main_leaf(struct pages *p, uint64_t page,
                      const struct page_part *key, const struct page_part *data,
                      bool sub)
{
	struct database db;
	char name[32];

	if (!sub || data->len != DB_LEN || key->len >= sizeof(name)) {
		fault(p, page, "has an entry that is no database");
		return;
	}
	memcpy(name, key->at, key->len);
	name[key->len] = 0;
	db = (struct database){.name = name, .tree = page_tree_get(data->at)};
	if (!p->only || !strcmp(name, p->only))
		database_walk(p, &db, data_leaf);
}

static void free_leaf(struct pages *p, uint64_t page,
                      const struct page_part *key, const struct page_part *data,
                      bool sub)
{
	uint64_t count;

	if (sub || data->len < 8 || data->len % 8) {
		fault(p, page, "has a bad list of free pages");
		return;
	}
	count = le64_get(data->at);
	if (count > data->len / 8 - 1) {
		fault(p, page, "has a bad list of free pages");
		return;
	}
	for (uint64_t i = 1; i <= count; i++) {
		uint64_t one = le64_get(data->at + 8 * i);

		if (one < 2 || one >= p->count)
			fault(p, one, "is free, and outside of the file");
		else if (!see(p, one))
			fault(p, one, "is free, and in use");
	}
}

/* ---- All pages ---------------------------------------------------------- */

/*
 * Copy the meta page that the transaction began with.  -EAGAIN: the next commit
 * but one has overwritten it, and the caller must begin a new transaction.
 */
static int meta_read(struct pages *p, uint8_t meta[META_LEN])
{
	uint64_t txn = mdb_txn_id(p->view->txn);

	for (int i = 0; i < 2; i++) {
		const uint8_t *at = p->map + i * DISK_PAGE + PAGE_HEADER;

		if (le64_get(at + META_TXN) != txn)
			continue;
		memcpy(meta, at, META_LEN);
		__atomic_thread_fence(__ATOMIC_SEQ_CST);
		if (le64_get(at + META_TXN) == txn)
			return 0;
	}
	return -EAGAIN;
}

static int pages_map(struct pages *p)
{
	struct stat st;
	void *map;
	int fd = p->view->store->disk.fd;

	if (fstat(fd, &st) < 0)
		return -errno;
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
	struct disk *disk = &p->view->store->disk;
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
		disk_read_end(disk, p->view->txn);
		p->view->txn = NULL;
		r = disk_read_begin(disk, &p->view->txn);
		if (r)
			return r;
	}
	return -EAGAIN;
}

static void pages_walk(struct pages *p)
{
	uint64_t lost = 0;

	database_walk(p, &p->main, main_leaf);
	if (p->only)
		return;
	database_walk(p, &p->free, free_leaf);
	for (uint64_t i = 2; i < p->count; i++)
		lost += !(p->seen[i / 8] >> i % 8 & 1);
	if (lost && !p->faults)
		view_report(p->view, "page", 0, NULL,
		            "%llu pages of data.mdb are neither in use nor "
		            "free",
		            (ull)lost);
}

/* Begin a walk.  Even after an error, the caller calls pages_end(). */
static int pages_prepare(struct pages *p, struct view *view,
                         uint8_t meta[META_LEN])
{
	int r;

	*p = (struct pages){
	        .view = view, .free.name = "free pages", .main.name = "names"};
	p->db = &p->main;
	r = pages_begin(p, meta);
	if (r)
		return r;
	p->count = le64_get(meta + META_LAST) + 1;
	/* Free pages may lie beyond the end of the file. */
	if (p->count > view->store->disk.map_size / DISK_PAGE) {
		fault(p, p->count, "the last page cannot be there");
		p->count = p->len / DISK_PAGE;
	}
	p->free.tree = page_tree_get(meta + META_DBS);
	p->free.tree.flags = MDB_INTEGERKEY;
	p->main.tree = page_tree_get(meta + META_DBS + DB_LEN);
	p->seen = calloc(1, (size_t)p->count / 8 + 1);
	return p->seen ? 0 : -ENOMEM;
}

static void pages_end(struct pages *p)
{
	free(p->seen);
	if (p->map)
		munmap((void *)p->map, p->len);
}

static int scan_pages(struct view *view, const char *only)
{
	uint8_t meta[META_LEN] = {0};
	struct pages p;
	int r = pages_prepare(&p, view, meta);

	p.only = only;
	if (r == 0)
		pages_walk(&p);
	pages_end(&p);
	if (r || view->stopped)
		return r ? r : view->stopped;
	return p.unsafe ? -EUCLEAN : 0;
}

int view_scan_pages(struct view *view)
{
	const struct disk *disk = &view->store->disk;

	if (disk->fault == DISK_META)
		view_report(view, "meta", 0, NULL,
		            "page %d of data.mdb (meta) is damaged: what was "
		            "changed last may be missing",
		            disk->bad_meta);
	else if (disk->fault == DISK_OLDER)
		view_report(view, "meta", 0, NULL,
		            "pages of the last commit are damaged: the one "
		            "before is looked at");
	return scan_pages(view, NULL);
}

int view_each_entry(struct view *view, const struct page_tree *tree,
                    entry_fn *fn, void *arg)
{
	struct pages p = {.view = view, .entry = fn, .arg = arg};
	struct database db = {.name = "entries", .tree = *tree};
	int r;

	p.db = &db;
	r = pages_map(&p);
	if (r < 0)
		return r;
	p.count = p.len / DISK_PAGE;
	p.seen = calloc(1, (size_t)p.count / 8 + 1);
	if (p.seen)
		database_walk(&p, &db, entry_leaf);
	r = !p.seen ? -ENOMEM : view->stopped;
	if (!r && db.bad)
		r = -EUCLEAN;
	pages_end(&p);
	return r;
}

static int found_at_opening(void *arg, const struct damage *damage)
{
	uint64_t *count = arg;

	/* The caller reports once that the store cannot be opened. */
	(*count)++;
	log_debug("data.mdb: %s", damage->text);
	return 0;
}

int view_check_records(struct store *store)
{
	uint64_t count = 0;
	struct view view = {
	        .store = store,
	        .options = {.found = found_at_opening, .arg = &count},
	};
	int r = disk_read_begin(&store->disk, &view.txn);

	if (r < 0)
		return r;
	r = scan_pages(&view, "records");
	if (view.txn)
		disk_read_end(&store->disk, view.txn);
	return r ? r : count ? -EUCLEAN : 0;
}

int view_check_length(struct store *store)
{
	uint64_t count = 0;
	struct view view = {
	        .store = store,
	        .options = {.found = found_at_opening, .arg = &count},
	};
	uint8_t meta[META_LEN] = {0};
	struct pages p = {0};
	int r = disk_read_begin(&store->disk, &view.txn);

	if (r < 0)
		return r;
	r = pages_prepare(&p, &view, meta);
	if (r == 0 && p.len / DISK_PAGE < p.count) {
		database_walk(&p, &p.free, free_leaf);
		for (uint64_t i = p.len / DISK_PAGE; i < p.count; i++)
			count += !(p.seen[i / 8] >> i % 8 & 1);
	}
	pages_end(&p);
	if (view.txn)
		disk_read_end(&store->disk, view.txn);
	return r < 0 ? r : count ? -EBADMSG : 0;
}
