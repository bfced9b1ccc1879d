/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The environment: opening it, and its read transactions. */
#include "disk_env.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "fault.h"
#include "meta.h"
#include "page_check.h"
#include "shadow.h"
#include "util.h"

enum {
	LENGTHEN_MOST = 1 << 30, /* bytes; a longer missing tail is damage */
	DBS_MAX = 8,
	READER_LEN = 64, /* bytes of a reader in LMDB's lock.mdb */
};

/* ---- Tables ------------------------------------------------------------- */

struct tables tables_init(const struct disk *disk)
{
	return (struct tables){{
	        {"blocks", MDB_INTEGERKEY, disk->blocks},
	        {"records", 0, disk->records},
	        {"lists", 0, disk->lists},
	        {"hashes", MDB_INTEGERKEY, disk->hashes},
	        {"aliases", MDB_INTEGERKEY, disk->dedup_refs},
	        {"counts", MDB_INTEGERKEY, disk->refcounts},
	}};
}

int tables_open(struct tables *tables, MDB_env *env, unsigned flags,
                bool create)
{
	MDB_txn *txn;
	int r = disk_error(mdb_txn_begin(env, NULL, flags, &txn));

	if (r < 0)
		return r;
	for (size_t i = 0; i < TABLES; i++) {
		unsigned found = 0;

		r = disk_error(mdb_dbi_open(txn, tables->at[i].name,
		                            tables->at[i].flags |
		                                    (create ? MDB_CREATE : 0),
		                            &tables->at[i].dbi));
		if (r == 0)
			r = disk_error(
			        mdb_dbi_flags(txn, tables->at[i].dbi, &found));
		/* The name of a table is damaged, or its order of keys. */
		if (r == -ENOENT || (r == 0 && found != tables->at[i].flags))
			r = -EUCLEAN;
		if (r < 0) {
			mdb_txn_abort(txn);
			return r;
		}
	}
	return disk_error(mdb_txn_commit(txn));
}

int tables_name(const struct tables *tables, const struct opening *opening)
{
	MDB_txn *txn;
	int r = disk_error(mdb_txn_begin(opening->env, NULL, MDB_RDONLY, &txn));

	if (r < 0)
		return r;
	for (size_t i = 0; r == 0 && i < TABLES; i++)
		r = disk_error(page_check_name(opening->check, txn,
		                               tables->at[i].name,
		                               tables->at[i].dbi));
	mdb_txn_abort(txn);
	return r;
}

int disk_open_tables(struct disk *disk, bool create, bool readonly)
{
	struct tables tables = tables_init(disk);
	struct opening *opening = disk->opening;
	int r = tables_open(&tables, opening->env, readonly ? MDB_RDONLY : 0,
	                    create);

	if (r == 0 && !readonly)
		r = tables_name(&tables, opening);
	if (r < 0)
		return r;
	disk->blocks = tables.at[0].dbi;
	disk->records = tables.at[1].dbi;
	disk->lists = tables.at[2].dbi;
	disk->hashes = tables.at[3].dbi;
	disk->dedup_refs = tables.at[4].dbi;
	disk->refcounts = tables.at[5].dbi;
	return 0;
}

/* ---- One opening -------------------------------------------------------- */

void opening_destroy(struct opening *opening)
{
	if (!opening)
		return;
	for (unsigned i = 0; i < opening->pool_len; i++)
		mdb_txn_abort(opening->pool[i]);
	mdb_env_close(opening->env);
	page_check_destroy(opening->check);
	free(opening);
}

/*
 * Allocate lock.mdb.  LMDB maps the file and writes to it: if the disk is full,
 * a page without disk space would raise a signal.
 */
static int disk_grant_locks(const char *path)
{
	enum { LOCKS_LEN = (DISK_READERS + 4) * READER_LEN };
	_cleanup_free_ char *name = NULL;
	_cleanup_close_ int fd = -1;

	if (asprintf(&name, "%s/lock.mdb", path) < 0)
		return name = NULL, -ENOMEM;
	/* If the file cannot be opened, LMDB will report it. */
	fd = open(name, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	if (fd >= 0 && fallocate(fd, FALLOC_FL_KEEP_SIZE, 0, LOCKS_LEN) < 0 &&
	    (errno == ENOSPC || errno == EDQUOT))
		return -ENOSPC;
	return 0;
}

int opening_create(struct disk *disk, const char *path, unsigned flags,
                   struct opening **ret_opening)
{
	struct opening *o = calloc(1, sizeof(*o));
	int r, fd;

	if (!o)
		return -ENOMEM;
	o->disk = disk;
	r = disk_error(mdb_env_create(&o->env));
	if (r < 0) {
		free(o);
		return r;
	}
	mdb_env_set_userctx(o->env, o);
	mdb_env_set_assert(o->env, fault_assert);
	mdb_env_set_maxdbs(o->env, DBS_MAX);
	mdb_env_set_maxreaders(o->env, DISK_READERS);
	r = disk_error(mdb_env_set_mapsize(o->env, disk->map_size));
	if (r == 0 && !(flags & MDB_RDONLY)) {
		o->check = page_check_create(disk->path);
		r = o->check ? 0 : -ENOMEM;
	}
	if (r == 0 && !(flags & MDB_NOLOCK))
		r = disk_grant_locks(path);
	if (r == 0)
		r = disk_error(
		        mdb_env_open(o->env, path, flags | MDB_NOTLS, 0600));
	if (r < 0) {
		opening_destroy(o);
		return r;
	}
	mdb_env_get_fd(o->env, &fd);
	fcntl(fd, F_SETFD, FD_CLOEXEC);
	*ret_opening = o;
	return 0;
}

/* ---- Opening and closing ------------------------------------------------ */

/*
 * Check the position of the last page.  Free pages at the end may never have
 * been written, but a tail of more than LENGTHEN_MOST cannot be missing.
 */
static int disk_check_length(struct disk *disk)
{
	MDB_envinfo info;
	struct stat st;
	uint64_t need;

	if (fstat(disk->fd, &st) < 0)
		return -errno;
	disk_info(disk, &info);
	if (info.me_last_pgno >= disk->map_size / DISK_PAGE)
		return -EUCLEAN;
	need = (info.me_last_pgno + 1) * DISK_PAGE;
	return need > (uint64_t)st.st_size + LENGTHEN_MOST ? -EUCLEAN : 0;
}

uint64_t disk_map_size(void)
{
	const char *override = getenv("COPPICE_MAP_SIZE");
	uint64_t size = override ? strtoull(override, NULL, 0) : 0;

	/* For machines that cannot reserve so much address space. */
	return size ? MIN(size, DISK_MAP_SIZE) : DISK_MAP_SIZE;
}

int disk_lengthen(struct disk *disk)
{
	MDB_envinfo info;
	struct stat st;
	off_t need;

	if (fstat(disk->fd, &st) < 0)
		return -errno;
	disk_info(disk, &info);
	need = (off_t)(info.me_last_pgno + 1) * DISK_PAGE;
	if (st.st_size >= need)
		return 0;
	return ftruncate(disk->fd, need) < 0 ? -errno : 0;
}

/* Open the directory and the file, which may be renamed from now on. */
static int disk_open_fds(struct disk *disk)
{
	int how = disk->readonly ? O_RDONLY : O_RDWR;

	disk->dir = open(disk->path, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (disk->dir < 0)
		return -errno;
	disk->fd = openat(disk->dir, "data.mdb", how | O_CLOEXEC);
	return disk->fd < 0 ? -errno : 0;
}

/*
 * Choose the meta page to open the file at.  NULL: LMDB can choose by itself,
 * although it trusts the content of either page.
 */
static int disk_choose(struct disk *disk, bool older,
                       const struct meta metas[METAS],
                       const struct meta **ret_meta)
{
	const struct meta *newest = metas_newest(metas), *other;

	if (!newest)
		return metas_foreign(disk->fd, metas) ? -EMEDIUMTYPE : -EUCLEAN;
	other = &metas[newest == &metas[0]];
	if (older && (other->fault || other->txn == newest->txn))
		return -EUCLEAN;
	*ret_meta = NULL;
	if (older) {
		disk->fault = DISK_OLDER;
		*ret_meta = other;
	} else if (other->fault &&
	           !(other->readable && other->txn < newest->txn)) {
		/* (An older page may be half written: LMDB ignores it.) */
		disk->fault = DISK_META;
		disk->bad_meta = (int)(other - metas);
		*ret_meta = newest;
	}
	return 0;
}

static int disk_open_file(struct disk *disk, bool older)
{
	struct meta metas[METAS];
	const struct meta *meta = NULL;
	int r = disk_open_fds(disk);

	if (r == 0)
		r = metas_read(disk->fd, metas);
	if (r == 0)
		r = disk_choose(disk, older, metas, &meta);
	if (r < 0)
		return r;
	if (meta && !disk->readonly)
		return -EBADMSG;
	r = meta ? shadow_open(disk, meta, &disk->opening)
	         : opening_create(disk, disk->path,
	                          disk->readonly ? MDB_RDONLY : 0,
	                          &disk->opening);
	return r < 0 ? r : disk_check_length(disk);
}

/* Initialize the fields.  After an error, too, disk_close() frees them. */
static int disk_init(struct disk *disk, const char *path, uint64_t map_size,
                     bool readonly)
{
	*disk = (struct disk){.map_size = map_size, .readonly = readonly};
	disk->dir = disk->fd = -1;
	pthread_mutex_init(&disk->pool_lock, NULL);
	cond_init_monotonic(&disk->changed);
	fault_init();
	disk->path = strdup(path);
	if (disk->path && !readonly)
		disk->metas = calloc(METAS, sizeof(*disk->metas));
	return disk->path && (readonly || disk->metas) ? 0 : -ENOMEM;
}

/*
 * Make an empty file with pages of DISK_PAGE bytes; LMDB would use the system's
 * page size.
 */
static int disk_create(const char *path, uint64_t map_size)
{
	_cleanup_free_ char *name = NULL;
	_cleanup_close_ int fd = -1;

	if (asprintf(&name, "%s/data.mdb", path) < 0)
		return name = NULL, -ENOMEM;
	fd = open(name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	return fd < 0 ? -errno : metas_create(fd, map_size);
}

int disk_open(struct disk *disk, const char *path, uint64_t map_size,
              bool create, bool readonly)
{
	int r = disk_init(disk, path, map_size, readonly);

	if (r == 0 && create)
		r = disk_create(path, map_size);
	if (r == 0)
		r = disk_open_file(disk, false);
	if (r == 0 && create)
		r = disk_open_tables(disk, create, readonly);
	if (r < 0)
		disk_close(disk);
	return r;
}

int disk_open_older(struct disk *disk, const char *path, uint64_t map_size)
{
	int r = disk_init(disk, path, map_size, true);

	if (r == 0)
		r = disk_open_file(disk, true);
	if (r < 0)
		disk_close(disk);
	return r;
}

void disk_close(struct disk *disk)
{
	if (!disk->path)
		return;
	disk->fault = DISK_SOUND;
	while (disk->opening) {
		struct opening *older = disk->opening->older;

		opening_destroy(disk->opening);
		disk->opening = older;
	}
	close_fd(&disk->fd);
	close_fd(&disk->dir);
	pthread_cond_destroy(&disk->changed);
	pthread_mutex_destroy(&disk->pool_lock);
	free(disk->metas);
	free(disk->path);
	disk->metas = NULL;
	disk->path = NULL;
}

void disk_info(struct disk *disk, MDB_envinfo *ret_info)
{
	pthread_mutex_lock(&disk->pool_lock);
	mdb_env_info(disk->opening->env, ret_info);
	pthread_mutex_unlock(&disk->pool_lock);
}

/* ---- Read transactions -------------------------------------------------- */

void disk_changed(struct disk *disk)
{
	if (disk->waiting)
		pthread_cond_broadcast(&disk->changed);
}

void disk_wait(struct disk *disk)
{
	disk->waiting++;
	pthread_cond_wait(&disk->changed, &disk->pool_lock);
	disk->waiting--;
}

struct opening *opening_leave(struct opening *opening, unsigned txns)
{
	struct opening **link = &opening->disk->opening;

	opening->txns -= txns;
	if (opening->txns || *link == opening)
		return NULL;
	while (*link != opening)
		link = &(*link)->older;
	*link = opening->older;
	return opening;
}

static int txn_start(struct opening *opening, MDB_txn **txn)
{
	if (*txn)
		return mdb_txn_renew(*txn);
	return mdb_txn_begin(opening->env, NULL, MDB_RDONLY, txn);
}

/*
 * After LMDB refused a read transaction with this code, wait until another try
 * may succeed.  Return false if none will.  `ended`: opening->ended before the
 * last try.  pool_lock held, and released while waiting.
 */
static bool may_read_again(struct disk *disk, const struct opening *opening,
                           unsigned ended, int code)
{
	if (code == MDB_READERS_FULL && opening->ended != ended)
		return true;
	if (code == MDB_READERS_FULL && opening->running) {
		disk_wait(disk);
		return true;
	}
	if (code != MDB_PANIC)
		return false;
	while (disk->opening == opening && disk->committing)
		disk_wait(disk);
	return disk->opening != opening;
}

int disk_read_begin(struct disk *disk, MDB_txn **ret_txn)
{
	bool again;
	int code;

	pthread_mutex_lock(&disk->pool_lock);
	do {
		struct opening *opening = disk->opening, *left = NULL;
		unsigned ended = opening->ended;
		MDB_txn *txn = NULL;

		if (opening->pool_len)
			txn = opening->pool[--opening->pool_len];
		else
			opening->txns++;
		opening->running++;
		pthread_mutex_unlock(&disk->pool_lock);
		code = txn_start(opening, &txn);
		if (code == 0) {
			*ret_txn = txn;
			return 0;
		}
		if (txn)
			mdb_txn_abort(txn);
		pthread_mutex_lock(&disk->pool_lock);
		/* No running reader is left to wake the waiting threads. */
		if (--opening->running == 0)
			disk_changed(disk);
		again = may_read_again(disk, opening, ended, code);
		left = opening_leave(opening, 1);
		if (left) {
			pthread_mutex_unlock(&disk->pool_lock);
			opening_destroy(left);
			pthread_mutex_lock(&disk->pool_lock);
		}
	} while (again);
	pthread_mutex_unlock(&disk->pool_lock);
	return disk_error(code);
}

/* pool_lock held. */
static void read_ended(struct opening *opening)
{
	opening->running--;
	opening->ended++;
	disk_changed(opening->disk);
}

void disk_read_end(struct disk *disk, MDB_txn *txn)
{
	struct opening *opening = mdb_env_get_userctx(mdb_txn_env(txn)), *left;

	mdb_txn_reset(txn);
	pthread_mutex_lock(&disk->pool_lock);
	if (opening == disk->opening &&
	    opening->pool_len < ARRAY_SIZE(opening->pool)) {
		opening->pool[opening->pool_len++] = txn;
		read_ended(opening);
		pthread_mutex_unlock(&disk->pool_lock);
		return;
	}
	pthread_mutex_unlock(&disk->pool_lock);
	mdb_txn_abort(txn);
	pthread_mutex_lock(&disk->pool_lock);
	/* mdb_txn_abort() has freed its slot in the table of readers. */
	read_ended(opening);
	left = opening_leave(opening, 1);
	pthread_mutex_unlock(&disk->pool_lock);
	opening_destroy(left);
}

bool disk_read_outdated(struct disk *disk, MDB_txn *txn)
{
	bool outdated;

	pthread_mutex_lock(&disk->pool_lock);
	outdated = disk->opening != mdb_env_get_userctx(mdb_txn_env(txn));
	pthread_mutex_unlock(&disk->pool_lock);
	return outdated;
}
