/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The space reservation: how much may still be written, and by which changes.
 *
 * Pending changes must find space at their commit, even if others have filled
 * the disk meanwhile.  So disk space is preallocated beyond the end of the
 * file, and writers are promised no more than that.  The size of a commit is
 * not known before it has been compressed and spread over pages.  It is
 * estimated high; if the estimate does not fit, the writer waits for a commit,
 * which shows the true size.
 *
 * A reserve is kept back, because deletions need pages before they free any.
 * Writers leave all of it, other changes half of it.  The deletion of states
 * may use it up, in small commits, each of which can use the pages that the
 * last but one has freed.
 */
#include "reservation.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/statvfs.h>

#include "commit.h"
#include "engine.h"
#include "lock.h"
#include "slowdown.h"

enum {
	/* Two commits that free STORE_PACE_LEAST blocks: see FREE_PAGES. */
	RESERVE_MIN = 4 << 20,
	RESERVE_MAX = 8 << 20,
	STEP_MIN = 8 << 20, /* preallocated at a time */
	STEP_MAX = 64 << 20,
	GIVE_MIN = 256 << 10, /* less is not worth giving back */
	BULK_MIN = 4096,      /* bytes of a large write */
	/* Pages copied for one change, besides those of its content. */
	CHUNK_PAGES = 2, /* an entry in `hashes`; a last fragment */
	FREE_PAGES = 2,
	NODE_PAGES = 1,
	RECORD_PAGES = 1,
	LIST_PAGES = 2,
	OPS_TIGHT = 256, /* entries of lists, if there is little space */
	/* The longest wait of a writer that is slowed down: for each byte, */
	SLOW_BYTE_NS = 8,
	SLOW_BULK_NS = 1000000, /* for a large write, */
	SLOW_NS = 250000,       /* and for any other change */
};

static uint64_t txg_cost(const struct txg *txg)
{
	uint64_t pages = 0;

	if (!txg)
		return 0;
	pages += txg->nodes_len * NODE_PAGES + txg->chunks_len * CHUNK_PAGES;
	pages += txg->frees_len * FREE_PAGES + txg->lists_len * LIST_PAGES;
	pages += txg->records.count * RECORD_PAGES;
	pages += txg->ops_len * LIST_PAGES + txg->ops_entries * FREE_PAGES;
	pages += txg->repack_pages;
	return txg->bytes + pages * DISK_PAGE;
}

static uint64_t pending_cost(const struct store *store)
{
	return txg_cost(store->open_txg) + txg_cost(store->syncing_txg);
}

/*
 * Return the bytes of the reserve for deletions, fewer under a small limit.
 * Lock held.
 */
static uint64_t reserve_bytes(const struct store *store)
{
	uint64_t bytes = (store->used + pending_cost(store)) / 16;

	bytes = MAX(bytes, (uint64_t)RESERVE_MIN);
	bytes = MIN(bytes, (uint64_t)RESERVE_MAX);
	return MIN(bytes, store->limit / 8);
}

/* Return how many bytes to preallocate at a time. */
static uint64_t step_bytes(const struct store *store)
{
	uint64_t step = MIN(store->used / 8, (uint64_t)STEP_MAX);

	return MAX(step, (uint64_t)STEP_MIN);
}

/* ---- Measuring ---------------------------------------------------------- */

static uint64_t disk_space(const struct store *store)
{
	struct statvfs vfs;

	if (fstatvfs(store->disk.fd, &vfs) < 0)
		return 0;
	return (uint64_t)vfs.f_bavail * vfs.f_frsize;
}

bool reservation_disk_full(const struct store *store)
{
	enum { NEXT_TO_NONE = 1 << 20 };

	return disk_space(store) < NEXT_TO_NONE;
}

/*
 * Return the bytes beyond the end of the used pages that are preallocated and
 * within the limit.
 */
static uint64_t reservation_ahead(const struct store *store)
{
	uint64_t end = MIN(store->granted, store->limit);
	uint64_t space = end > store->used ? end - store->used : 0;

	return store->cannot_grant ? MIN(space, disk_space(store)) : space;
}

void reservation_measure(struct store *store)
{
	MDB_envinfo info;

	disk_info(&store->disk, &info);
	store->used = (info.me_last_pgno + 1) * DISK_PAGE;
	store->granted = MAX(store->granted, store->used);
	store->free_known = false;
	store->avail = reservation_ahead(store);
	store->coming = 0;
}

/* Count the free pages within the file, too; not done for every commit. */
static void reservation_count_free(struct store *store)
{
	struct disk_free free;
	uint64_t over = 0;

	if (store->free_known)
		return;
	store->free_known = true;
	if (disk_count_free(&store->disk, &free) < 0)
		return;
	/* Count again later: no event reports the end of a pinning reader. */
	store->free_known = !free.pinned;
	if (store->used > store->limit)
		over = store->used - store->limit;
	store->avail = reservation_ahead(store) + free.usable;
	store->coming = free.coming - MIN(free.coming, over);
	over -= free.coming - store->coming;
	store->avail -= MIN(store->avail, over);
}

/*
 * Preallocate disk space from `from` up to `to`.  -ENOSPC; -EOPNOTSUPP: the
 * file system cannot do this.
 */
static int preallocate(int fd, uint64_t from, uint64_t to)
{
	int err = 0;

	if (from == to)
		return 0;
	do
		err = fallocate(fd, FALLOC_FL_KEEP_SIZE, (off_t)from,
		                (off_t)(to - from)) < 0
		              ? errno
		              : 0;
	while (err == EINTR);
	if (err == EDQUOT || err == EFBIG)
		err = ENOSPC;
	return err == ENOSYS ? -EOPNOTSUPP : -err;
}

/* Do the same for the store.  -ENOSPC. */
static int grant(struct store *store, uint64_t from, uint64_t to)
{
	int r = preallocate(store->disk.fd, from, to);

	if (r != -EOPNOTSUPP)
		return r;
	/* Rely on the file system's free space. */
	store->cannot_grant = true;
	return 0;
}

/* Count the space up to `end` as preallocated. */
static void granted(struct store *store, uint64_t end)
{
	uint64_t before = reservation_ahead(store);

	store->granted_once = true;
	store->granted = MAX(store->granted, end);
	store->avail += reservation_ahead(store) - before;
}

/* Preallocate at least `bytes` more, and a step ahead if possible. */
static int reservation_extend(struct store *store, uint64_t bytes)
{
	uint64_t step = step_bytes(store);
	uint64_t from = store->granted_once ? store->granted : 0;
	uint64_t least = store->granted + bytes, most;
	int r;

	most = MIN(store->granted + MAX(bytes, step), store->limit);
	if (least > store->limit)
		return -ENOSPC;
	r = grant(store, from, most);
	if (r < 0 && least < most)
		r = grant(store, from, most = least);
	if (r == 0)
		granted(store, most);
	return r;
}

/*
 * Preallocate a step before the space is needed, without the lock, because
 * fallocate(2) may wait for the journal of the file system.  `keep` as for
 * reservation_need(), which reports the errors.  Lock held, and released
 * meanwhile.
 */
static void reservation_prepare(struct store *store, uint64_t keep)
{
	uint64_t step = step_bytes(store), from = store->granted;
	uint64_t need = pending_cost(store) + keep + step / 2;
	uint64_t most = MIN(from + step, store->limit);
	int r;

	if (need <= store->avail || most <= from || store->granting ||
	    !store->granted_once || store->cannot_grant ||
	    store->prepare_after > store->tries)
		return;
	reservation_count_free(store);
	if (need <= store->avail)
		return;
	store->granting = true;
	store_unlock(store);
	r = preallocate(store->disk.fd, from, most);
	store_lock(store);
	store->granting = false;
	if (r == 0)
		granted(store, most);
	else
		store->prepare_after = store->tries + 1;
}

/* Give back preallocated space, but keep `ahead` bytes beyond the end. */
static void give_back(struct store *store, uint64_t ahead)
{
	uint64_t keep = store->used + ahead;
	struct stat st;
	int fd = store->disk.fd;

	if (store->granting || fstat(fd, &st) < 0)
		return;
	/* See disk_lengthen(): a read-only opening could not do this. */
	if ((uint64_t)st.st_size < store->used &&
	    ftruncate(fd, (off_t)store->used) == 0)
		st.st_size = (off_t)store->used;
	if (!store->granted_once || store->granted <= keep + GIVE_MIN ||
	    (uint64_t)st.st_size > keep)
		return;
	/* Give back what lies beyond the end, except for the bytes to keep. */
	if (ftruncate(fd, st.st_size) == 0 &&
	    grant(store, store->used, keep) == 0)
		store->granted = keep;
	else
		store->granted = store->used;
	store->avail = reservation_ahead(store);
	store->free_known = false;
}

void reservation_relax(struct store *store)
{
	uint64_t reserve = reserve_bytes(store);

	/* Keep some space: do not give back and take small steps in turn. */
	if (store->granted > store->used + 2 * (reserve + step_bytes(store)))
		give_back(store, reserve);
}

void reservation_give_back(struct store *store)
{
	uint64_t keep = reserve_bytes(store) + pending_cost(store);
	uint64_t ahead, inside;

	/* Free pages within the file can be used, too. */
	reservation_count_free(store);
	ahead = reservation_ahead(store);
	inside = store->avail - MIN(store->avail, ahead);
	give_back(store, keep - MIN(keep, inside));
}

/* ---- Slowing down ------------------------------------------------------- */

/*
 * Reserve space for the pending changes and `keep` bytes more.  Waits for
 * commits if necessary.  Lock held, and released while waiting.
 */
static int reservation_need(struct store *store, uint64_t keep)
{
	uint64_t pending = pending_cost(store), need = pending + keep;

	if (need <= store->avail)
		return 0;
	for (int commits = 0;; commits++) {
		int r = 0;

		reservation_count_free(store);
		if (need > store->avail)
			r = reservation_extend(store, need - store->avail);
		/* Without preallocation the space need not be there. */
		if (r == 0 && need > store->avail)
			r = -ENOSPC;
		if (r != -ENOSPC)
			return r;
		/*
		 * A commit shows the true size of the changes.  It also makes
		 * the pages usable that the one before has freed, even if it
		 * changes nothing.
		 */
		if (commits == 2 || ((commits || !pending) &&
		                     need > store->avail + store->coming))
			return r;
		if (commits || !pending)
			store_changed(store);
		r = commit_wait_all(store);
		if (r < 0)
			return r;
		need = keep;
	}
}

/* Return the bytes of the open group at which a writer waits for a commit. */
static size_t wait_mark(const struct store *store, bool bulk)
{
	size_t space = store->txg_hard - store->txg_soft;

	return store->txg_hard - (bulk ? space / 2 : 0);
}

/*
 * Slow a writer down to the pace of the running commit: large writes first, and
 * other changes when large writes would have to wait for its end.  `bytes`: of
 * the write, or 0.  Lock held, and released meanwhile.
 */
static void slow_down(struct store *store, size_t bytes)
{
	bool bulk = bytes >= BULK_MIN;
	int64_t most = (int64_t)MIN(bytes, (size_t)SLOW_BULK_NS) * SLOW_BYTE_NS;
	const struct txg *txg = store->syncing_txg;
	struct slowdown slowdown = {
	        .first = bulk ? store->txg_soft / 2 : wait_mark(store, true),
	        .mark = wait_mark(store, bulk),
	        .most = bulk ? MIN(most, (int64_t)SLOW_BULK_NS) : SLOW_NS,
	};
	int64_t ns;

	/* Programs that embed the engine write in batches. */
	if (!store->options.nice || !txg || store->commit_err)
		return;
	slowdown.elapsed = mono_ns() - store->commit_began;
	slowdown.expected = (int64_t)(txg->bytes >> 10) * store->kib_ns;
	ns = slowdown_ns(&slowdown, store->open_txg->bytes);
	if (!ns)
		return;
	store->throttled = true;
	lock_wait_ns(store, &store->committed, ns);
}

/*
 * Wait for the commit that is running, or about to begin, while the open group
 * is over the mark.
 */
static void wait_for_committer(struct store *store, size_t mark)
{
	while (store->open_txg->bytes > mark &&
	       (store->syncing_txg || store->commit_asked) &&
	       !store->commit_err) {
		store->throttled = true;
		lock_wait(store, &store->committed, NULL);
	}
}

static int throttle(struct store *store, bool grows, size_t bytes)
{
	bool bulk = bytes >= BULK_MIN;
	uint64_t reserve;
	int r = 0;

	if (store->options.readonly)
		return -EROFS;
	store_lock(store);
	slow_down(store, bytes);
	wait_for_committer(store, wait_mark(store, bulk));
	reserve = reserve_bytes(store);
	if (bulk && !store->commit_err)
		reservation_prepare(store, reserve);
	/*
	 * The limit of memory applies to all changes.  If the disk is full,
	 * only changes that may free space pass.
	 */
	if (store->commit_err && (store->open_txg->bytes > store->txg_hard ||
	                          (store->commit_err == -ENOSPC && grows)))
		r = store->commit_err;
	else if (!store->commit_err)
		r = reservation_need(store, grows ? reserve : reserve / 2);
	if (r == -ENOSPC && store->full_fn)
		store->full_fn(store->full_arg);
	store_unlock(store);
	return r;
}

int store_throttle(struct store *store, bool grows)
{
	return throttle(store, grows, 0);
}

int store_throttle_write(struct store *store, size_t bytes)
{
	return throttle(store, true, bytes);
}

/*
 * Return the bytes to reserve for freeing so many blocks, at most those of all
 * pages in use.
 */
static uint64_t freeing_cost(const struct store *store, uint64_t blocks)
{
	return MIN(blocks * FREE_PAGES * DISK_PAGE, store->used);
}

/*
 * Reduce *blocks to those that can be freed with the space besides the reserve.
 * Return true if there is not even space for the reserve.  Lock held.
 */
static bool pace_measure(struct store *store, uint32_t *blocks)
{
	uint64_t least = pending_cost(store) + reserve_bytes(store);
	uint64_t most = least + freeing_cost(store, *blocks), room;

	if (most > store->avail)
		reservation_count_free(store);
	if (most > store->avail)
		reservation_extend(store, most - store->avail);
	if (least > store->avail)
		reservation_extend(store, least - store->avail);
	room = store->avail - MIN(store->avail, least);
	if (most > store->avail)
		*blocks = (uint32_t)(room / (FREE_PAGES * DISK_PAGE));
	return least > store->avail;
}

int store_pace(struct store *store, uint32_t *blocks)
{
	int r = 0;

	if (store->options.readonly)
		return -EROFS;
	store_lock(store);
	wait_for_committer(store, store->txg_hard);
	if (pace_measure(store, blocks))
		r = 1;
	/* Commit each piece before the next, which needs its pages. */
	if (r || *blocks < STORE_PACE_LEAST) {
		int err = commit_wait_all(store);

		*blocks = STORE_PACE_LEAST;
		r = err < 0 ? err : r;
	}
	store_unlock(store);
	return r;
}

int reservation_for_pages(struct store *store, uint64_t pages)
{
	uint64_t need =
	        pending_cost(store) + reserve_bytes(store) + pages * DISK_PAGE;

	if (need > store->avail)
		reservation_count_free(store);
	if (need <= store->avail)
		return 0;
	return reservation_extend(store, need - store->avail);
}

int list_op_check(struct store *store, uint64_t entries, bool alone)
{
	uint64_t done = store->open_txg->ops_entries;
	uint64_t most = alone ? store->ops_most_alone : store->ops_most;

	if (entries > store->ops_most)
		return -E2BIG;
	if (done && done + entries > most)
		return -EAGAIN;
	if (reservation_for_pages(store, entries * FREE_PAGES) == 0)
		return 0;
	if (done)
		return -EAGAIN;
	return entries <= OPS_TIGHT ? 0 : -E2BIG;
}

/* ---- The limit ---------------------------------------------------------- */

void reservation_set_limit(struct store *store, uint64_t max_size)
{
	/* Leave space in the map for estimates that were too low. */
	store->limit = store->disk.map_size - store->disk.map_size / 16;
	if (max_size)
		store->limit = MIN(store->limit, max_size);
}

uint64_t reservation_stat(struct store *store)
{
	uint64_t ahead, beyond;

	reservation_count_free(store);
	/* Beyond the end of the file: granted space, or space on the disk. */
	ahead = store->cannot_grant ? reservation_ahead(store) : 0;
	beyond = store->cannot_grant ? store->used : store->granted;
	beyond = store->limit - MIN(beyond, store->limit);
	return store->avail - MIN(store->avail, ahead) + store->coming +
	       MIN(beyond, disk_space(store));
}
