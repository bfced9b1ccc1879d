/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * All states of one open store: create, open and close them, and write their
 * records to the tables whenever a transaction group is closed.
 *
 *   TABLE_META  "forest"  varint states, tasks, deleting, default state or 0;
 *                         if any state is in the trash: their number, and
 *                         that of the snapshots of such forks
 *   TABLE_META  "trash"   varint seconds: see forest_set_trash_time()
 *   TABLE_META  "forks"   inode of the directory that lists the forks
 */
#include "forest.h"
#include "number.h"
#include "position.h"
#include "util.h"

#include <errno.h>
#include <sys/stat.h>

static const char meta_key[] = "forest";
static const char root_key[] = "forks";
static const char trash_key[] = "trash";

/* ---- Records ------------------------------------------------------------ */

size_t forest_meta_encode(const struct forest_meta *meta,
                          uint8_t out[FOREST_META_LEN_MAX])
{
	struct writer w = writer_init(out, FOREST_META_LEN_MAX);

	put_varint(&w, meta->states);
	put_varint(&w, meta->tasks);
	put_varint(&w, meta->deleting);
	put_varint(&w, meta->default_state);
	if (meta->trashed) {
		put_varint(&w, meta->trashed);
		put_varint(&w, meta->trashed_snapshots);
	}
	return writer_len(&w);
}

int forest_meta_decode(const struct record *record,
                       struct forest_meta *ret_meta)
{
	struct reader r = reader_init(record->value, record->len);
	struct forest_meta meta = {
	        .states = get_varint(&r),
	        .tasks = get_varint(&r),
	        .deleting = get_varint(&r),
	        .default_state = get_varint(&r),
	};

	if (reader_left(&r)) {
		meta.trashed = get_varint(&r);
		meta.trashed_snapshots = get_varint(&r);
	}
	if (!reader_done(&r))
		return -EUCLEAN;
	*ret_meta = meta;
	return 0;
}

static int meta_put(struct store *store, const struct forest_meta *meta)
{
	uint8_t value[FOREST_META_LEN_MAX];

	return table_put(store, TABLE_META, meta_key, sizeof(meta_key) - 1,
	                 value, forest_meta_encode(meta, value));
}

static int meta_get(struct store *store, struct forest_meta *ret_meta)
{
	struct record record;
	int r = table_get(store, TABLE_META, meta_key, sizeof(meta_key) - 1,
	                  &record);

	if (r < 0)
		return r == -ENOENT ? -EUCLEAN : r;
	return forest_meta_decode(&record, ret_meta);
}

static int root_put(struct store *store, const struct inode *inode)
{
	uint8_t value[INODE_LEN_MAX];
	size_t len = inode_encode(inode, value);

	return table_put(store, TABLE_META, root_key, sizeof(root_key) - 1,
	                 value, len);
}

static int root_get(struct store *store, struct inode *ret_inode)
{
	struct record record;
	int r = table_get(store, TABLE_META, root_key, sizeof(root_key) - 1,
	                  &record);

	if (r < 0)
		return r == -ENOENT ? -EUCLEAN : r;
	return inode_decode(record.value, record.len, ret_inode);
}

static int trash_time_get(struct store *store, int64_t *ret_time)
{
	struct record record;
	struct reader r;
	uint64_t seconds;
	int err = table_get(store, TABLE_META, trash_key, sizeof(trash_key) - 1,
	                    &record);

	*ret_time = 0;
	if (err)
		return err == -ENOENT ? 0 : err;
	r = reader_init(record.value, record.len);
	seconds = get_varint(&r);
	if (!reader_done(&r) || seconds > TRASH_TIME_MAX)
		return -EUCLEAN;
	*ret_time = (int64_t)seconds * 1000000000;
	return 0;
}

int forest_set_trash_time(struct forest *forest, int64_t seconds)
{
	uint8_t value[10];
	struct writer w = writer_init(value, sizeof(value));
	int r;

	if (forest->readonly)
		return -EROFS;
	if (seconds < 0 || seconds > TRASH_TIME_MAX)
		return -EINVAL;
	put_varint(&w, (uint64_t)seconds);
	r = table_put(forest->store, TABLE_META, trash_key,
	              sizeof(trash_key) - 1, value, writer_len(&w));
	if (!r)
		forest->trash_time = seconds * 1000000000;
	return r;
}

int64_t forest_trash_time(const struct forest *forest)
{
	return forest->trash_time;
}

static int version_put(struct forest *forest, const struct version *v)
{
	uint8_t key[8], value[VERSION_LEN_MAX];

	be64_put(key, v->id);
	return table_put(forest->store, TABLE_VERSION, key, sizeof(key), value,
	                 version_encode(v, value));
}

static int state_put(struct forest *forest, const struct state *s)
{
	uint8_t key[8], value[STATE_LEN_MAX];

	be64_put(key, s->number);
	return table_put(forest->store, TABLE_STATE, key, sizeof(key), value,
	                 state_encode(s, value));
}

void meta_mark(struct forest *forest)
{
	forest->meta_dirty = true;
	store_changed(forest->store);
}

int forest_put(struct forest *forest)
{
	struct cached *e;
	int r = 0;

	while (!r && (e = forest->versions.dirty)) {
		r = version_put(forest,
		                container_of(e, struct version, cached));
		if (!r)
			cache_unmark(&forest->versions, e);
	}
	while (!r && (e = forest->states.dirty)) {
		r = state_put(forest, container_of(e, struct state, cached));
		if (!r)
			cache_unmark(&forest->states, e);
	}
	if (!r && forest->meta_dirty) {
		r = meta_put(forest->store, &forest->meta);
		forest->meta_dirty = r < 0;
	}
	return r;
}

void forest_flush(struct forest *forest)
{
	int r = forest_put(forest);

	/* The other records stay dirty and are written with the next txg. */
	if (r < 0)
		log_error("cannot write the states of '%s': %s",
		          store_path(forest->store), strerror(-r));
}

static void forest_on_freeze(void *arg)
{
	struct forest *forest = arg;

	forest_flush(forest);
	/* Clean entries can be evicted. */
	if (forest_crowded(forest))
		gc_wake(forest);
}

/* ---- The first state ---------------------------------------------------- */

static struct inode directory_inode(uint32_t uid, uint32_t gid, uint32_t mode)
{
	int64_t now = now_ns();
	struct timestamp t = {now / 1000000000, (uint32_t)(now % 1000000000)};

	return (struct inode){
	        .mode = S_IFDIR | (mode & 07777),
	        .nlink = 2,
	        .uid = uid,
	        .gid = gid,
	        .atime = t,
	        .mtime = t,
	        .ctime = t,
	        .btime = t,
	};
}

static int main_put(struct forest *forest, const struct inode *root,
                    uint32_t uid)
{
	static const struct key key = {INO_ROOT, ITEM_INODE, 0};
	struct store *store = forest->store;
	uint8_t value[INODE_LEN_MAX], name[TABLE_KEY_MAX], number[10];
	struct writer w = writer_init(number, sizeof(number));
	struct version v = {
	        .id = store_next_seq(store), .refs = 1, .inodes = 1};
	struct state s = {.forest = forest, .name = "main", .version = &v};
	int r = store_count(store, COUNTER_STATE, 1, STATE_NUMBER_END,
	                    &s.number);

	if (r < 0)
		return r;
	v.created = s.created = now_ns();
	v.tree = (struct tree){.store = store, .list = v.id, .owner = v.id};
	r = tree_put(&v.tree, &key, value, inode_encode(root, value));
	if (!r)
		r = version_put(forest, &v);
	if (!r)
		r = state_put(forest, &s);
	put_varint(&w, s.number);
	if (!r)
		r = table_put(store, TABLE_NAME, name,
		              name_key(name, 0, s.name), number,
		              writer_len(&w));
	if (!r)
		r = property_set_creator(&s, uid);
	forest->meta.states = 1;
	return r;
}

int forest_create(struct store *store, uint32_t uid, uint32_t gid,
                  uint32_t mode)
{
	struct forest forest = {.store = store};
	struct inode inode = directory_inode(uid, gid, mode);
	struct forest_meta meta;
	int r;

	store_lock(store);
	r = meta_get(store, &meta) == -EUCLEAN ? 0 : -EEXIST;
	if (!r)
		r = main_put(&forest, &inode, uid);
	if (!r)
		r = meta_put(store, &forest.meta);
	inode.mode = S_IFDIR | 0755;
	if (!r)
		r = root_put(store, &inode);
	store_unlock(store);
	return r;
}

/* Wake the background thread, which deletes trash when space runs out. */
static void forest_on_full(void *arg)
{
	struct forest *forest = arg;

	if (forest->meta.trashed)
		gc_wake(forest);
}

/* ---- Opening and closing ------------------------------------------------ */

static void forest_free(struct forest *forest)
{
	struct cached *e;

	deleted_free(forest);
	positions_release(forest);
	while ((e = cache_any(&forest->states))) {
		cache_remove(&forest->states, e);
		free(container_of(e, struct state, cached));
	}
	while ((e = cache_any(&forest->versions))) {
		cache_remove(&forest->versions, e);
		free(container_of(e, struct version, cached));
	}
	cache_release(&forest->states);
	cache_release(&forest->versions);
	free(forest->reserved);
	pthread_cond_destroy(&forest->gc.idle);
	pthread_cond_destroy(&forest->gc.wake);
	pthread_mutex_destroy(&forest->gc.lock);
	free(forest);
}

/* Lock held. */
static int records_read(struct forest *forest)
{
	int r = meta_get(forest->store, &forest->meta);

	if (!r)
		r = root_get(forest->store, &forest->root);
	return r ? r : trash_time_get(forest->store, &forest->trash_time);
}

/* Another process has made a commit: forget what may have changed. */
static void forest_on_newer(void *arg)
{
	struct forest *forest = arg;

	positions_release(forest);
	forest_forget(forest);
	records_read(forest);
}

static int forest_load(struct forest *forest)
{
	int r;

	store_lock(forest->store);
	r = records_read(forest);
	store_unlock(forest->store);
	if (r == -EUCLEAN)
		log_error("'%s' has no readable record of its states",
		          store_path(forest->store));
	return r;
}

int forest_open(struct store *store, struct forest **ret_forest)
{
	struct forest *forest = calloc(1, sizeof(*forest));
	int r;

	if (!forest)
		return -ENOMEM;
	forest->store = store;
	forest->number_end = STATE_NUMBER_END;
	forest->readonly = store_throttle(store, false) == -EROFS;
	pthread_mutex_init(&forest->gc.lock, NULL);
	pthread_cond_init(&forest->gc.wake, NULL);
	pthread_cond_init(&forest->gc.idle, NULL);
	r = cache_init(&forest->versions);
	if (!r)
		r = cache_init(&forest->states);
	if (!r)
		r = forest_load(forest);
	if (!r && !forest->readonly) {
		store_on_txg_close(store, forest_on_freeze, forest);
		store_on_full(store, forest_on_full, forest);
		r = gc_start(forest);
	} else if (!r) {
		store_on_newer(store, forest_on_newer, forest);
	}
	if (r < 0) {
		store_on_txg_close(store, NULL, NULL);
		store_on_full(store, NULL, NULL);
		forest_free(forest);
		return r;
	}
	*ret_forest = forest;
	return 0;
}

void forest_close(struct forest *forest)
{
	struct store *store;

	if (!forest)
		return;
	store = forest->store;
	gc_stop(forest);
	if (!forest->readonly) {
		/* store_close() tries again if this fails. */
		store_sync(store);
		store_lock(store);
		forest_on_freeze(forest);
		store_unlock(store);
	}
	store_on_txg_close(store, NULL, NULL);
	store_on_full(store, NULL, NULL);
	store_on_newer(store, NULL, NULL);
	forest_free(forest);
}

struct store *forest_store(struct forest *forest)
{
	return forest->store;
}

/* ---- Common to all states ----------------------------------------------- */

uint64_t forest_count(struct forest *forest)
{
	return forest->meta.states;
}

int state_default(struct forest *forest, struct state **ret_state)
{
	int r = state_get(forest, forest->meta.default_state, ret_state);

	return r == -ESTALE ? -ENOENT : r;
}

int state_set_default(struct forest *forest, struct state *state)
{
	if (forest->readonly)
		return -EROFS;
	if (state && state->gone)
		return -ESTALE;
	forest->meta.default_state = state ? state->number : 0;
	meta_mark(forest);
	return 0;
}

int forest_root_inode(struct forest *forest, struct inode *ret_inode)
{
	*ret_inode = forest->root;
	return 0;
}

int forest_set_root_inode(struct forest *forest, const struct inode *inode)
{
	int r;

	if (forest->readonly)
		return -EROFS;
	r = root_put(forest->store, inode);
	if (!r)
		forest->root = *inode;
	return r;
}

void forest_set_watch(struct forest *forest, const struct forest_watch *watch)
{
	forest->watch = *watch;
}
