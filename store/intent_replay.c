/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Replaying the intent log. */
#include <errno.h>
#include <fcntl.h>

#include "codec.h"
#include "engine.h"
#include "intent_entry.h"
#include "intent_file.h"

/* The log as the store's last commit expects it. */
struct replay {
	struct store *store;
	int fd;
	uint8_t nonce[INTENT_NONCE];
	uint64_t number; /* of the group of the last commit */
	uint64_t half;   /* bytes of a half of the file */
	uint8_t *bytes;  /* of an entry: INTENT_ENTRY_MAX */
};

static int read_at(int fd, uint8_t *bytes, size_t len, uint64_t at)
{
	size_t done = 0;

	while (done < len) {
		ssize_t n =
		        pread(fd, bytes + done, len - done, (off_t)(at + done));

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		if (n == 0)
			return -ENOENT;
		done += (size_t)n;
	}
	return 0;
}

/*
 * Read the entry to replay->bytes.  -ENOENT: it was not written, or not
 * completely.
 */
static int entry_read(struct replay *replay, uint64_t group, uint32_t index,
                      uint64_t at, struct intent_header *ret_header)
{
	uint64_t end = intent_start(group, replay->half) + replay->half;
	uint64_t left = end - at;
	struct intent_header h;
	int r;

	if (left < INTENT_ALIGN)
		return -ENOENT;
	left = MIN(left, (uint64_t)INTENT_ENTRY_MAX) - INTENT_HEADER;
	r = read_at(replay->fd, replay->bytes, INTENT_HEADER, at);
	if (r < 0)
		return r;
	if (!intent_header_decode(replay->bytes, left, &h) ||
	    memcmp(h.nonce, replay->nonce, INTENT_NONCE) || h.group != group ||
	    h.index != index)
		return -ENOENT;
	r = read_at(replay->fd, replay->bytes + INTENT_HEADER, h.len,
	            at + INTENT_HEADER);
	if (r < 0)
		return r;
	if (!intent_header_verify(replay->bytes, h.len))
		return -ENOENT;
	*ret_header = h;
	return 0;
}

/*
 * Return true if the log has an entry of a later run of the group, although the
 * entry at this place is missing.  A run is written after the one before it is
 * durable, so the missing entry was damaged later.
 */
static bool entry_follows(struct replay *replay, uint64_t group, uint32_t index,
                          uint64_t at)
{
	uint64_t end = intent_start(group, replay->half) + replay->half;
	struct intent_header h;

	while ((at += INTENT_ALIGN) < end) {
		if (read_at(replay->fd, replay->bytes, INTENT_HEADER, at) < 0)
			return false;
		if (intent_header_decode(replay->bytes, INTENT_ENTRY_MAX, &h) &&
		    h.index - h.part > index &&
		    entry_read(replay, group, h.index, at, &h) == 0)
			return true;
	}
	return false;
}

/*
 * Read the entry.  If it is the first of its run (part is 0), all of the run
 * must be there.  -ENOENT: it is not.
 */
static int entry_next(struct replay *replay, uint64_t group, uint32_t index,
                      uint32_t part, uint64_t at,
                      struct intent_header *ret_header)
{
	uint64_t next = at;
	struct intent_header h;
	int r;

	for (uint32_t i = 0;; i++) {
		r = entry_read(replay, group, index + i, next, &h);
		if (r == 0 && h.part != part + i)
			r = -ENOENT;
		if (r < 0 || part || !(h.flags & INTENT_MORE))
			break;
		next += intent_size(h.len);
	}
	/* The buffer has the last entry of the run by now. */
	if (r == 0 && next != at)
		r = entry_read(replay, group, index, at, &h);
	if (r == 0)
		*ret_header = h;
	return r;
}

/* Replay a group.  Return 1 if the log has all of it, else 0. */
static int group_replay(struct replay *replay, uint64_t number)
{
	uint64_t at = intent_start(number, replay->half);
	uint32_t part = 0;

	for (uint32_t index = 0;; index++) {
		struct intent_header h = {0};
		int r = entry_next(replay, number, index, part, at, &h);

		if (r == -ENOENT && entry_follows(replay, number, index, at))
			log_error("entry %u of '%s/" INTENT_FILE
			          "' is damaged: changes that were synced "
			          "after it are lost",
			          index, replay->store->path);
		if (r < 0)
			return r == -ENOENT ? 0 : r;
		r = intent_decode(replay->store, replay->bytes + INTENT_HEADER,
		                  h.len);
		if (r < 0)
			return r;
		replay->store->intent.replayed++;
		if (h.flags & INTENT_LAST)
			return 1;
		part = h.flags & INTENT_MORE ? part + 1 : 0;
		at += intent_size(h.len);
	}
}

/* At most two groups were not committed: a syncing one and the open one. */
static int groups_replay(struct replay *replay)
{
	int r = group_replay(replay, replay->number + 1);

	if (r > 0)
		r = group_replay(replay, replay->number + 2);
	return r < 0 ? r : 0;
}

/* Read the record of the last commit.  -ENOENT: the log was not in use. */
static int record_read(struct replay *replay)
{
	struct record record;
	struct reader r;
	const uint8_t *nonce;
	int err = table_get(replay->store, TABLE_META, INTENT_RECORD,
	                    strlen(INTENT_RECORD), &record);

	if (err < 0)
		return err;
	r = reader_init(record.value, record.len);
	nonce = reader_take(&r, INTENT_NONCE);
	replay->number = get_u64(&r);
	replay->half = reader_left(&r) ? get_u64(&r) : INTENT_HALF;
	if (!reader_done(&r) || replay->half < INTENT_HALF ||
	    replay->half > INTENT_HALF_MAX || replay->half % INTENT_ALIGN)
		return -EUCLEAN;
	memcpy(replay->nonce, nonce, INTENT_NONCE);
	return 0;
}

static int entries_replay(struct store *store)
{
	_cleanup_free_ uint8_t *bytes = malloc(INTENT_ENTRY_MAX);
	_cleanup_close_ int fd = -1;
	struct replay replay = {.store = store, .bytes = bytes};
	int r;

	if (!bytes)
		return -ENOMEM;
	r = record_read(&replay);
	if (r < 0)
		return r == -ENOENT ? 0 : r;
	fd = openat(store->disk.dir, INTENT_FILE, O_RDONLY | O_CLOEXEC);
	if (fd < 0 && errno != ENOENT)
		return -errno;
	if (fd < 0) {
		log_warning("the store '%s' has lost its file '" INTENT_FILE
		            "': changes of its last seconds may be missing, "
		            "even if they were synced",
		            store->path);
		return 0;
	}
	replay.fd = fd;
	r = groups_replay(&replay);
	if (r == 0 && store->intent.replayed)
		log_debug("replayed %llu entries of '%s/" INTENT_FILE "'",
		          (unsigned long long)store->intent.replayed,
		          store->path);
	return r;
}

/*
 * Read the record of the store again, which the log may change.  -EUCLEAN: the
 * sizes differ from those with which the blocks in memory were allocated.
 */
static int geometry_reload(struct store *store)
{
	struct geometry before = store->geometry;
	int r = store_load_geometry(store);

	if (r == 0 && (store->geometry.node_size != before.node_size ||
	               store->geometry.chunk_bits != before.chunk_bits)) {
		store->geometry = before;
		r = -EUCLEAN;
	}
	return r;
}

int intent_log_replay(struct store *store)
{
	int r;

	if (!store_has_feature(store, STORE_FEATURE_LOG))
		return 0;
	store_lock(store);
	r = entries_replay(store);
	if (r == 0)
		r = geometry_reload(store);
	if (r == 0 && !store->options.readonly)
		r = intent_log_end(store);
	store_unlock(store);
	return r;
}

int store_open_committed(const char *path, struct store **ret_store)
{
	const struct store_options options = {.readonly = true,
	                                      .committed = true};
	struct store *store;
	int r = store_open(path, &options, &store);

	if (r < 0 || !store_has_feature(store, STORE_FEATURE_LOG)) {
		if (r == 0)
			*ret_store = store;
		return r;
	}
	store_close(store);
	r = store_open(path, NULL, &store);
	if (r == 0)
		r = store_close(store);
	if (r < 0)
		log_warning("the changes in '%s/" INTENT_FILE
		            "' are left out: %s",
		            path, store_open_reason(r));
	return store_open(path, &options, ret_store);
}
