/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Making and deleting a store. */
#include <dirent.h>
#include <errno.h>
#include <sys/random.h>
#include <sys/stat.h>

#include "codec.h"
#include "engine.h"

static int directory_prepare(const char *path, bool *ret_made)
{
	struct dirent *entry;
	DIR *dir;
	int r = 0;

	*ret_made = mkdir(path, 0700) == 0;
	if (*ret_made)
		return 0;
	if (errno != EEXIST)
		return -errno;
	dir = opendir(path);
	if (!dir)
		return -errno;
	while (r != -EEXIST && (entry = readdir(dir))) {
		if (!strcmp(entry->d_name, "data.mdb"))
			r = -EEXIST;
		else if (strcmp(entry->d_name, ".") &&
		         strcmp(entry->d_name, "..") &&
		         strcmp(entry->d_name, "lost+found"))
			r = -ENOTEMPTY;
	}
	closedir(dir);
	return r;
}

/* Write the geometry and, unless it is NULL, the record of the counters. */
static int records_create(MDB_txn *txn, struct disk *disk,
                          const struct geometry *g, const uint64_t *counters)
{
	uint8_t key[] = {TABLE_META, 's', 't', 'o', 'r', 'e'},
	        value[GEOMETRY_LEN_MAX];
	uint8_t counters_key[] = {TABLE_META, 'c', 'o', 'u', 'n',
	                          't',        'e', 'r', 's'};
	MDB_val k = {sizeof(key), key}, v = {0, value};
	struct writer w = writer_init(value, sizeof(value));
	int r;

	v.mv_size = geometry_encode(g, value, sizeof(value));
	r = disk_error(disk_put(txn, disk->records, &k, &v));
	if (r < 0 || !counters)
		return r;
	for (int i = 0; i < 1 + COUNTER_COUNT; i++)
		put_u64(&w, counters[i]);
	k = (MDB_val){sizeof(counters_key), counters_key};
	v.mv_size = writer_len(&w);
	return disk_error(disk_put(txn, disk->records, &k, &v));
}

static int store_make(const char *path, const struct geometry *g,
                      const uint64_t *counters)
{
	struct disk disk;
	MDB_txn *txn;
	bool made;
	int r = directory_prepare(path, &made);

	if (r < 0)
		return r;
	r = disk_open(&disk, path, disk_map_size(), true, false);
	if (r == 0)
		r = disk_write_begin(&disk, &txn);
	if (r == 0) {
		r = records_create(txn, &disk, g, counters);
		if (r == 0)
			r = disk_write_commit(&disk, txn);
		else
			mdb_txn_abort(txn);
	}
	disk_close(&disk);
	if (r < 0 && r != -EEXIST)
		store_remove_files(path);
	if (r < 0 && made)
		rmdir(path);
	return r;
}

int store_create(const char *path, const struct store_params *params)
{
	struct store_params p = params ? *params : (struct store_params){0};
	struct geometry g = {
	        .node_size =
	                p.node_size ? p.node_size : STORE_NODE_SIZE_DEFAULT,
	        .chunk_bits =
	                p.chunk_bits ? p.chunk_bits : STORE_CHUNK_BITS_DEFAULT,
	        .max_size = p.max_size,
	        .created = (uint64_t)now_ns(),
	};

	if (!geometry_valid(&g) || (g.max_size && g.max_size < MAX_SIZE_LEAST))
		return -EINVAL;
	if (!uuid_make(g.uuid) ||
	    getrandom(&g.seed, sizeof(g.seed), 0) != sizeof(g.seed))
		return -EIO;
	return store_make(path, &g, NULL);
}

int store_create_like(const char *path, const struct store *store, uint64_t seq,
                      const uint64_t counters[COUNTER_COUNT])
{
	struct geometry g = store->geometry;
	uint64_t all[1 + COUNTER_COUNT] = {seq};

	for (int i = 0; i < COUNTER_COUNT; i++)
		all[1 + i] = counters[i];
	g.max_size = 0;
	/* The new store has no intent log. */
	g.incompat &= ~(uint64_t)(STORE_FEATURE_LOG | STORE_FEATURE_LARGE_LOG);
	return store_make(path, &g, all);
}

int store_remove_files(const char *path)
{
	static const char *const names[] = {"data.mdb", "lock.mdb", "lock",
	                                    "readers", INTENT_FILE};

	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		_cleanup_free_ char *name = NULL;

		if (asprintf(&name, "%s/%s", path, names[i]) < 0) {
			name = NULL;
			return -ENOMEM;
		}
		if (unlink(name) < 0 && errno != ENOENT && errno != ENOTDIR)
			return -errno;
	}
	return 0;
}

int store_remove(const char *path)
{
	int r = store_remove_files(path);

	if (r < 0)
		return r;
	return rmdir(path) < 0 && errno != ENOENT ? -errno : 0;
}
