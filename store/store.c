/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A store as a whole: opening and closing it, its counters and figures. */
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <xxhash.h>

#include "check/view_page.h"
#include "chunk_codec.h"
#include "codec.h"
#include "commit.h"
#include "engine.h"
#include "lock.h"
#include "lock_file.h"
#include "mark.h"
#include "memory_default.h"
#include "meta.h"
#include "reservation.h"

enum {
	COMMIT_MS_DEFAULT = 4000, /* 5 seconds with the commit itself */
	CLOSE_MS_DEFAULT = 5000,
	RETRY_MS_DEFAULT = 100,
	LEVEL_DEFAULT = 3,
	DELTA_DEPTH_DEFAULT = 16,
	BUCKETS_FIRST = 1 << 12,
	/*
	 * Entries of lists that one commit handles.  If they are more, more of
	 * them share pages, but other threads wait longer for the commit.
	 */
	OPS_MOST = 8192,
	OPS_MOST_ALONE = 65536,
	SPARSE_LEAST = 256 << 10,
};

/* ---- Opening ------------------------------------------------------------ */

static int data_exists(const char *path)
{
	_cleanup_free_ char *name = NULL, *part = NULL;
	struct stat st;

	if (asprintf(&name, "%s/data.mdb", path) < 0)
		return name = NULL, -ENOMEM;
	if (asprintf(&part, "%s/" STORE_UNFINISHED, path) < 0)
		return part = NULL, -ENOMEM;
	if (stat(name, &st) == 0)
		return S_ISREG(st.st_mode) ? 0 : -EMEDIUMTYPE;
	if (errno != ENOENT && errno != ENOTDIR)
		return -errno;
	return access(part, F_OK) == 0 ? -ENOMEDIUM : -ENOENT;
}

int store_load_geometry(struct store *store)
{
	struct record record;
	int r = table_get(store, TABLE_META, "store", 5, &record);

	if (r < 0)
		return r == -ENOENT ? -EMEDIUMTYPE : r;
	return geometry_decode(record.value, record.len,
	                       store->options.readonly, &store->geometry);
}

static int records_load(struct store *store)
{
	struct record record;
	struct reader r;
	int err = store_load_geometry(store);

	if (err < 0)
		return err;
	err = table_get(store, TABLE_META, "counters", 8, &record);
	if (err == -ENOENT)
		return 0; /* just made */
	if (err < 0)
		return err;
	r = reader_init(record.value, record.len);
	store->seq = get_u64(&r);
	for (int i = 0; i < COUNTER_COUNT; i++)
		store->counters[i] = get_u64(&r);
	return reader_done(&r) ? 0 : -EUCLEAN;
}

const char *store_open_reason(int err)
{
	switch (err) {
	case -ENOENT:
		return "there is no store";
	case -ENOMEDIUM:
		return "it was not completed: run coppice init again";
	case -EBUSY:
		return "another process has it open";
	case -EPROTONOSUPPORT:
		return "its format is newer than this program";
	case -EMEDIUMTYPE:
		return "it is not a store: its data.mdb is something else";
	case -EUCLEAN:
		return "it is damaged too much to be opened";
	case -EBADMSG:
		return "it is damaged, and can only be read until it is "
		       "repaired by coppice check --repair";
	case -EROFS:
		return "it is on a read-only disk";
	default:
		return strerror(-err);
	}
}

bool store_meta_damaged(const struct store *store)
{
	return store->disk.fault == DISK_META;
}

int store_mend_meta(struct store *store)
{
	_cleanup_free_ char *name = NULL;
	_cleanup_close_ int fd = -1;

	if (asprintf(&name, "%s/data.mdb", store->path) < 0)
		return name = NULL, -ENOMEM;
	fd = open(name, O_RDWR | O_CLOEXEC);
	return fd < 0 ? -errno : metas_mend(fd);
}

static void store_free(struct store *store)
{
	if (store->buckets)
		block_release_all(store);
	decoder_destroy_all(store);
	bulk_release(store);
	txg_destroy(store->open_txg);
	if (store->reader)
		disk_read_end(&store->disk, store->reader);
	disk_close(&store->disk);
	intent_log_release(&store->intent);
	close_fd(&store->lock_fd);
	close_fd(&store->marks_fd);
	free(store->claims);
	pthread_cond_destroy(&store->committer_wake);
	pthread_cond_destroy(&store->committed);
	pthread_mutex_destroy(&store->sparse.lock);
	pthread_mutex_destroy(&store->damage_log.lock);
	pthread_mutex_destroy(&store->lock);
	free(store->sharers);
	free(store->path);
	free(store);
}

/*
 * Divide the memory between clean blocks and transaction groups.  A default of
 * more than 256 MiB is for clean blocks alone: larger groups would make each
 * commit longer, and a crash could lose more seconds.
 */
static void memory_divide(struct store *store)
{
	uint64_t memory = store->options.memory, groups = memory;

	if (!memory) {
		memory = memory_default("");
		groups = MIN(memory, MEMORY_DEFAULT_USUAL);
	}
	store->options.memory = memory;
	store->clean_limit = memory / 2;
	store->txg_soft = groups / 8;
	store->txg_hard = groups / 4;
}

static struct store *store_alloc(const char *path,
                                 const struct store_options *options)
{
	struct store *store = calloc(1, sizeof(*store));

	if (!store)
		return NULL;
	if (options)
		store->options = *options;
	if (!store->options.commit_ms)
		store->options.commit_ms = COMMIT_MS_DEFAULT;
	if (!store->options.close_ms)
		store->options.close_ms = CLOSE_MS_DEFAULT;
	if (!store->options.retry_ms)
		store->options.retry_ms = RETRY_MS_DEFAULT;
	if (!store->options.level)
		store->options.level = LEVEL_DEFAULT;
	if (!store->options.delta_depth)
		store->options.delta_depth = DELTA_DEPTH_DEFAULT;
	store->options.delta_depth =
	        MIN(store->options.delta_depth, (int)CHUNK_DEPTH_MAX);
	memory_divide(store);
	store->ops_most = OPS_MOST;
	store->ops_most_alone = OPS_MOST_ALONE;
	store->lock_fd = -1;
	store->marks_fd = -1;
	atomic_init(&store->holder_cpu, -1);
	store->bulk.fd = -1;
	intent_log_init(&store->intent);
	store->sparse.at = UINT64_MAX;
	store->sparse.least = SPARSE_LEAST;
	store->clean.newer = store->clean.older = &store->clean;
	pthread_mutex_init(&store->lock, NULL);
	pthread_mutex_init(&store->damage_log.lock, NULL);
	pthread_mutex_init(&store->sparse.lock, NULL);
	cond_init_monotonic(&store->committer_wake);
	cond_init_monotonic(&store->committed);
	store->path = realpath(path, NULL);
	store->buckets_len = BUCKETS_FIRST;
	store->buckets = calloc(BUCKETS_FIRST, sizeof(*store->buckets));
	store->open_txg = txg_create(1);
	if (store->options.shared && sharers_create(&store->sharers) < 0) {
		store_free(store);
		return NULL;
	}
	if (!store->path || !store->buckets || !store->open_txg) {
		store_free(store);
		return NULL;
	}
	return store;
}

/*
 * Open the file, and check the pages that LMDB reads to find a record.
 * -EBADMSG: it cannot be opened for writing, but perhaps read-only.
 */
static int open_checked(struct store *store, bool readonly)
{
	struct disk *disk = &store->disk;
	int r = disk_open(disk, store->path, disk_map_size(), false, readonly);

	if (r < 0)
		return r;
	r = view_check_records(store);
	/* Read-only, the store may open as of the commit before. */
	if (r == -EUCLEAN && !readonly)
		return -EBADMSG;
	if (r == -EUCLEAN && disk->fault == DISK_SOUND) {
		disk_close(disk);
		r = disk_open_older(disk, store->path, disk_map_size());
		if (r == 0)
			r = view_check_records(store);
	}
	if (r == 0)
		r = view_check_length(store);
	if (r != -EBADMSG || !readonly)
		return r;
	if (disk->fault == DISK_SOUND)
		disk->fault = DISK_SHORT;
	return 0;
}

static int store_open_file(struct store *store)
{
	bool readonly = store->options.readonly;
	int r = open_checked(store, readonly);

	if (r == -EBADMSG) {
		disk_close(&store->disk);
		r = open_checked(store, true);
		return r < 0 ? r : -EBADMSG;
	}
	return r < 0 || readonly ? r : disk_lengthen(&store->disk);
}

static void log_fault(const struct store *store)
{
	static const char *const what[] = {
	        [DISK_META] = "one of its two meta pages is damaged: the "
	                      "store is opened by the other one",
	        [DISK_OLDER] = "pages of its last commit are damaged: the "
	                       "store is opened as of the one before",
	        [DISK_SHORT] = "its end is missing",
	};

	if (store->disk.fault)
		log_warning("'%s/data.mdb': %s, and can only be read; run "
		            "coppice check --repair",
		            store->path, what[store->disk.fault]);
}

static int store_open_disk(struct store *store)
{
	bool readonly = store->options.readonly;
	int r = store_open_file(store);

	if (r == 0)
		r = disk_open_tables(&store->disk, false, readonly);
	/* A sound database, but not ours. */
	if (r == -ENOENT)
		r = -EMEDIUMTYPE;
	if (r == 0)
		r = records_load(store);
	if (r == -EMEDIUMTYPE && store->disk.fault)
		r = -EUCLEAN;
	if (r == 0) {
		reservation_set_limit(store, store->geometry.max_size);
		log_fault(store);
	}
	return r;
}

/*
 * Remove what a compaction that was killed has left: the file in it never
 * became the store's.  No other compaction runs, as the store is locked.
 */
static void remove_unfinished(const struct store *store)
{
	_cleanup_free_ char *path = NULL;
	int r;

	if (asprintf(&path, "%s/" STORE_COMPACTING, store->path) < 0) {
		path = NULL;
		return;
	}
	r = store_remove(path);
	if (r < 0)
		log_warning("cannot remove '%s': %s", path, strerror(-r));
}

/* Forget the changes that are not committed, as in a crash. */
static void txgs_drop(struct store *store)
{
	struct txg *txgs[] = {store->syncing_txg, store->open_txg};

	for (size_t i = 0; i < ARRAY_SIZE(txgs); i++) {
		struct txg *txg = txgs[i];

		for (size_t j = 0; txg && j < txg->nodes_len; j++)
			block_clean(store, &txg->nodes[j]->block);
		for (size_t j = 0; txg && j < txg->chunks_len; j++)
			block_clean(store, &txg->chunks[j]->block);
		txg_destroy(txg);
	}
	store->syncing_txg = store->open_txg = NULL;
}

/* Make a store that is open for writing ready for it. */
static int store_begin(struct store *store)
{
	/* The committer may close the group at once. */
	bool replayed = store->open_txg->since;
	int r;

	lock_file_mark(store);
	remove_unfinished(store);
	r = commit_start_thread(store);
	if (r == 0 && replayed)
		r = store_sync(store);
	if (r == 0)
		intent_log_remove(store);
	return r;
}

int store_open(const char *path, const struct store_options *options,
               struct store **ret_store)
{
	struct store *store;
	int r;

	r = data_exists(path);
	if (r < 0)
		return r;
	store = store_alloc(path, options);
	if (!store)
		return -ENOMEM;
	if (!store->options.beside)
		r = lock_file_take(path, store->options.readonly,
		                   &store->lock_fd);
	if (r == 0)
		r = marks_open(store);
	if (r == 0)
		r = store_open_disk(store);
	if (r == 0 && !store->options.beside && !store->options.committed)
		r = intent_log_replay(store);
	if (r < 0) {
		txgs_drop(store);
		store_free(store);
		return r;
	}
	bulk_init(store);
	reservation_measure(store);
	if (!store->options.readonly)
		r = store_begin(store);
	if (r < 0) {
		store_close(store);
		return r;
	}
	*ret_store = store;
	return 0;
}

/* Return the changes that are only in memory. */
static struct store_loss pending_loss(const struct store *store)
{
	const struct txg *sets[] = {store->syncing_txg, store->open_txg};
	struct store_loss loss = {0};
	int64_t now = mono_ns(), since = now;

	for (size_t i = 0; i < ARRAY_SIZE(sets); i++) {
		if (!sets[i] || !sets[i]->since)
			continue;
		since = MIN(since, sets[i]->since);
		loss.bytes += sets[i]->bytes;
	}
	loss.ms = (uint64_t)(now - since) / 1000000;
	return loss;
}

int store_close(struct store *store)
{
	struct store_loss loss;

	return store_close_loss(store, &loss);
}

int store_close_loss(struct store *store, struct store_loss *ret_loss)
{
	int r;

	if (!store)
		return 0;
	store_lock(store);
	r = intent_log_pause(store);
	store_unlock(store);
	intent_log_stop_thread(store);
	if (r == 0)
		r = commit_stop_thread(store);
	else
		commit_stop_thread(store);
	if (r < 0)
		*ret_loss = pending_loss(store);
	txgs_drop(store);
	if (r == 0 && store->intent.fd >= 0)
		intent_log_remove(store);
	if (!store->options.readonly)
		reservation_give_back(store);
	if (r == 0 && !store->options.readonly)
		lock_file_clear(store);
	store_free(store);
	return r;
}

/*
 * Write the geometry, and if that succeeds, set its variable fields.  Other
 * threads read the constant ones without the lock.  Lock held.
 */
static int geometry_put(struct store *store, const struct geometry *g)
{
	uint8_t value[GEOMETRY_LEN_MAX];
	int r = table_put(store, TABLE_META, "store", 5, value,
	                  geometry_encode(g, value, sizeof(value)));

	if (r < 0)
		return r;
	store->geometry.max_size = g->max_size;
	store->geometry.incompat = g->incompat;
	if (memcmp(store->geometry.uuid, g->uuid, sizeof(g->uuid)) != 0)
		memcpy(store->geometry.uuid, g->uuid, sizeof(g->uuid));
	return 0;
}

int store_resize(struct store *store, uint64_t max_size)
{
	struct geometry g;
	int r;

	if (store->options.readonly)
		return -EROFS;
	if (max_size && max_size < MAX_SIZE_LEAST)
		return -EINVAL;
	store_lock(store);
	g = store->geometry;
	g.max_size = max_size;
	r = geometry_put(store, &g);
	if (r == 0) {
		reservation_set_limit(store, max_size);
		reservation_measure(store);
	}
	store_unlock(store);
	return r == 0 ? store_sync(store) : r;
}

int store_set_feature(struct store *store, enum store_feature feature, bool on)
{
	struct geometry g = store->geometry;

	if (store_has_feature(store, feature) == on)
		return 0;
	g.incompat ^= (uint64_t)feature;
	return geometry_put(store, &g);
}

bool store_has_feature(const struct store *store, enum store_feature feature)
{
	return store->geometry.incompat & (uint64_t)feature;
}

int store_renew_identity(struct store *store)
{
	struct geometry g;
	int r = -EIO;

	if (store->options.readonly)
		return -EROFS;
	store_lock(store);
	g = store->geometry;
	if (uuid_make(g.uuid))
		r = geometry_put(store, &g);
	store_unlock(store);
	return r == 0 ? store_sync(store) : r;
}

/* ---- Counters and questions --------------------------------------------- */

void store_changed(struct store *store)
{
	txg_touch(store, 1);
}

uint64_t store_next_seq(struct store *store)
{
	txg_touch(store, 1);
	return ++store->seq;
}

int store_count(struct store *store, enum store_counter counter, uint64_t first,
                uint64_t end, uint64_t *ret_number)
{
	uint64_t next = MAX(store->counters[counter], first);

	if (next >= end)
		return -ENOSPC;
	txg_touch(store, 1);
	store->counters[counter] = next + 1;
	*ret_number = next;
	return 0;
}

uint64_t store_counter(const struct store *store, enum store_counter counter)
{
	return store->counters[counter];
}

void store_set_counter(struct store *store, enum store_counter counter,
                       uint64_t next)
{
	txg_touch(store, 1);
	store->counters[counter] = next;
}

uint32_t store_chunk_size(const struct store *store)
{
	return 1u << store->geometry.chunk_bits;
}

uint64_t store_hash_seed(const struct store *store)
{
	return store->geometry.seed;
}

const uint8_t *store_uuid(const struct store *store)
{
	return store->geometry.uuid;
}

const char *store_path(const struct store *store)
{
	return store->path;
}

void store_where(const struct store *store, char *ret_path, size_t size)
{
	char link[40];
	ssize_t len;

	snprintf(link, sizeof(link), "/proc/self/fd/%d", store->disk.dir);
	len = readlink(link, ret_path, size);
	if (len > 0 && (size_t)len < size && ret_path[0] == '/')
		ret_path[len] = 0;
	else
		snprintf(ret_path, size, "%s", store->path);
}

bool store_is_readonly(const struct store *store)
{
	return store->options.readonly;
}

uint32_t store_checksum(const void *data, size_t len)
{
	return (uint32_t)XXH3_64bits(data, len);
}

uint64_t store_hash(const struct store *store, const void *data, size_t len)
{
	return XXH3_64bits_withSeed(data, len, store->geometry.seed) >> 1;
}

void store_on_txg_close(struct store *store, void (*fn)(void *arg), void *arg)
{
	store_lock(store);
	store->txg_close_fn = fn;
	store->txg_close_arg = arg;
	store_unlock(store);
}

void store_on_full(struct store *store, void (*fn)(void *arg), void *arg)
{
	store_lock(store);
	store->full_fn = fn;
	store->full_arg = arg;
	store_unlock(store);
}

uint64_t store_max_size(const struct store *store)
{
	return store->geometry.max_size;
}

void store_stats(struct store *store, struct store_stats *ret_stats)
{
	struct store_stats s = {0};
	uint64_t unused = 0;

	if (disk_usage(&store->disk, &s.file_bytes, &unused) == 0)
		s.free_bytes = unused;
	disk_table_bytes(&store->disk, store->disk.lists, &s.list_bytes);
	store_lock(store);
	s.limit_bytes = store->limit;
	s.avail_bytes = reservation_stat(store);
	s.pending_bytes = store->open_txg->bytes +
	                  (store->syncing_txg ? store->syncing_txg->bytes : 0);
	s.memory_bytes = s.pending_bytes + store->clean_bytes;
	s.memory_limit = store->options.memory;
	s.commits = store->commits;
	s.logged = store->intent.logged;
	s.replayed = store->intent.replayed;
	s.seq = store->seq;
	store_unlock(store);
	*ret_stats = s;
}
