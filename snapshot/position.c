/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Find snapshots by their position in time: the N-th newest of a fork, the
 * newest at or before a time, or the oldest.
 *
 * The table of times leads from one snapshot to the next older one: the newest
 * few are found that way.  For others the times of a fork are kept in memory,
 * as far back as they were needed.  They are read in pieces, from the newest
 * on.  The time of a new snapshot, which is always the newest, is added to
 * them, and that of a deleted snapshot is removed.
 */
#include "position.h"
#include "array.h"
#include "forest.h"
#include "util.h"

#include <errno.h>

enum {
	NEAR = 16,     /* records read without keeping their times */
	PIECE = 256,   /* records read in one hold of the lock */
	TIMES = PIECE, /* in one block */
};
/* Limit of the times kept for all forks; forks used within a second stay. */
static const uint64_t times_max = UINT64_C(2) << 20;
static const int64_t times_keep_ns = 1000000000;

struct times {
	uint32_t len;
	int64_t at[TIMES]; /* ascending */
};

struct positions {
	struct positions *next; /* used less recently */
	uint64_t fork;
	int64_t used;  /* when, by mono_ns() */
	int64_t reach; /* snapshots of this time and newer are included */
	bool begun;    /* `reach` is set */
	bool whole;    /* all snapshots are included */
	size_t count;  /* number of times */
	size_t blocks_len, blocks_capacity;
	struct times **blocks; /* the newest first; none is empty */
};

/* ---- Blocks of times ---------------------------------------------------- */

static void positions_free(struct positions *p)
{
	for (size_t i = 0; i < p->blocks_len; i++)
		free(p->blocks[i]);
	free(p->blocks);
	free(p);
}

static struct times *block_insert(struct positions *p, size_t index)
{
	struct times *times;

	if (array_grow(&p->blocks, p->blocks_len, &p->blocks_capacity))
		return NULL;
	times = malloc(sizeof(*times));
	if (!times)
		return NULL;
	times->len = 0;
	memmove(&p->blocks[index + 1], &p->blocks[index],
	        (p->blocks_len - index) * sizeof(*p->blocks));
	p->blocks[index] = times;
	p->blocks_len++;
	return times;
}

static void block_remove(struct positions *p, size_t index)
{
	free(p->blocks[index]);
	p->blocks_len--;
	memmove(&p->blocks[index], &p->blocks[index + 1],
	        (p->blocks_len - index) * sizeof(*p->blocks));
}

/* Return the n-th newest time; n is from 1 to p->count. */
static int64_t times_nth(const struct positions *p, uint64_t n)
{
	struct times *const *block = p->blocks;

	while (n > (*block)->len)
		n -= (*block++)->len;
	return (*block)->at[(*block)->len - n];
}

/*
 * Find the newest time at or before `time`: its block, and its index in that.
 * Return false if all are newer.
 */
static bool times_find(const struct positions *p, int64_t time,
                       size_t *ret_block, uint32_t *ret_place)
{
	size_t low = 0, high = p->blocks_len;
	uint32_t place;

	/* The first block whose oldest time is not newer. */
	while (low < high) {
		size_t mid = low + (high - low) / 2;

		if (p->blocks[mid]->at[0] > time)
			low = mid + 1;
		else
			high = mid;
	}
	if (low == p->blocks_len)
		return false;
	place = p->blocks[low]->len;
	while (p->blocks[low]->at[place - 1] > time)
		place--;
	*ret_block = low;
	*ret_place = place - 1;
	return true;
}

/* ---- The times of a fork ------------------------------------------------ */

/* Find the times of a fork and move them to the front of the list. */
static struct positions *positions_take(struct forest *forest, uint64_t fork)
{
	struct positions **at = &forest->positions, *p;

	while (*at && (*at)->fork != fork)
		at = &(*at)->next;
	p = *at;
	if (!p)
		return NULL;
	*at = p->next;
	p->next = forest->positions;
	forest->positions = p;
	return p;
}

static void positions_drop_first(struct forest *forest)
{
	struct positions *p = forest->positions;

	forest->positions = p->next;
	positions_free(p);
}

void positions_forget(struct forest *forest, uint64_t fork)
{
	if (positions_take(forest, fork))
		positions_drop_first(forest);
}

void positions_release(struct forest *forest)
{
	while (forest->positions)
		positions_drop_first(forest);
}

/* Free the least recently used times above the limit. */
static void positions_trim(struct forest *forest, int64_t now)
{
	struct positions **at = &forest->positions;
	uint64_t sum = 0;

	while (*at) {
		struct positions *p = *at;

		sum += p->count;
		if (sum <= times_max || now - p->used < times_keep_ns) {
			at = &p->next;
			continue;
		}
		*at = p->next;
		sum -= p->count;
		positions_free(p);
	}
}

static struct positions *positions_get(struct forest *forest, uint64_t fork)
{
	struct positions *p = positions_take(forest, fork);
	int64_t now = mono_ns();

	if (!p) {
		p = calloc(1, sizeof(*p));
		if (!p)
			return NULL;
		p->fork = fork;
		p->next = forest->positions;
		forest->positions = p;
	}
	p->used = now;
	positions_trim(forest, now);
	return p;
}

/* ---- Reading them ------------------------------------------------------- */

/*
 * Set the key to that of the next older record of the fork.  -ENOENT; -EAGAIN:
 * see table_next_within().
 */
static int time_next(struct forest *forest, uint64_t fork,
                     uint8_t key[TIME_KEY_LEN], unsigned *budget)
{
	struct record record;
	int r = table_next_within(forest->store, TABLE_TIME, key, TIME_KEY_LEN,
	                          budget, &record);

	if (r < 0 && r != -EAGAIN)
		return r;
	if (record.key_len != TIME_KEY_LEN)
		return -EUCLEAN;
	if (be64_get(record.key) != fork)
		return -ENOENT;
	memcpy(key, record.key, TIME_KEY_LEN);
	return r;
}

/* Read the next piece of a fork's times. */
static int positions_extend(struct forest *forest, struct positions *p)
{
	unsigned budget = PIECE;
	uint8_t key[TIME_KEY_LEN];
	int64_t found[PIECE];
	struct times *times;
	uint32_t count = 0;
	int r = 0;

	if (p->begun)
		time_key(key, p->fork, p->reach, UINT64_MAX);
	else
		time_key(key, p->fork, INT64_MAX, 0);
	while (budget && !r) {
		r = time_next(forest, p->fork, key, &budget);
		if (!r)
			found[count++] = time_of_key(key);
	}
	if (r < 0 && r != -ENOENT && r != -EAGAIN)
		return r;
	if (count) {
		times = block_insert(p, p->blocks_len);
		if (!times)
			return -ENOMEM;
		while (times->len < count) {
			times->at[times->len] = found[count - 1 - times->len];
			times->len++;
		}
		p->count += count;
	}
	p->whole = r == -ENOENT;
	if (!p->whole) {
		p->reach = time_of_key(key);
		p->begun = true;
	}
	return 0;
}

static int state_at(struct forest *forest, uint64_t fork, int64_t time,
                    struct state **ret_state)
{
	/* A snapshot of exactly this time exists. */
	return state_newest(forest, fork, time, ret_state);
}

/* ---- Changes ------------------------------------------------------------ */

void positions_add(struct forest *forest, const struct state *snapshot)
{
	struct positions *p = positions_take(forest, snapshot->fork);
	struct times *newest;

	if (!p || (!p->begun && !p->whole))
		return;
	newest = p->blocks_len ? p->blocks[0] : NULL;
	if (!newest || newest->len == TIMES)
		newest = block_insert(p, 0);
	if (!newest) {
		positions_drop_first(forest);
		return;
	}
	newest->at[newest->len++] = snapshot->created;
	p->count++;
}

void positions_del(struct forest *forest, const struct state *snapshot)
{
	struct positions *p = positions_take(forest, snapshot->fork);
	struct times *times;
	uint32_t place;
	size_t block;

	if (!p || !times_find(p, snapshot->created, &block, &place))
		return;
	times = p->blocks[block];
	if (times->at[place] != snapshot->created)
		return;
	times->len--;
	memmove(&times->at[place], &times->at[place + 1],
	        (times->len - place) * sizeof(*times->at));
	if (!times->len)
		block_remove(p, block);
	p->count--;
}

/* ---- Finding ------------------------------------------------------------ */

/*
 * Find the n-th newest snapshot at or before a time among the first few
 * records. -EAGAIN: it is not among them.
 */
static int near_nth(struct forest *forest, uint64_t fork, int64_t time,
                    uint64_t n, struct state **ret_state)
{
	unsigned budget = NEAR;
	uint8_t key[TIME_KEY_LEN];
	int r = 0;

	/* The key sorts before all records of this time: no number is 0. */
	time_key(key, fork, time, 0);
	while (!r && n--) {
		if (!budget)
			return -EAGAIN;
		r = time_next(forest, fork, key, &budget);
	}
	return r ? r : state_at(forest, fork, time_of_key(key), ret_state);
}

int position_nth(struct forest *forest, uint64_t fork, uint64_t n,
                 struct state **ret_state)
{
	struct positions *p;
	int r = n <= NEAR ? near_nth(forest, fork, INT64_MAX, n, ret_state)
	                  : -EAGAIN;

	if (r != -EAGAIN)
		return r;
	p = positions_get(forest, fork);
	if (!p)
		return -ENOMEM;
	if (p->count < n && !p->whole) {
		r = positions_extend(forest, p);
		if (r < 0)
			return r;
	}
	if (p->count >= n)
		return state_at(forest, fork, times_nth(p, n), ret_state);
	return p->whole ? -ENOENT : -EAGAIN;
}

/* Search the times in memory.  -EAGAIN: more of them must be read first. */
static int known_at(struct forest *forest, const struct positions *p,
                    int64_t time, struct state **ret_state)
{
	uint32_t place;
	size_t block;

	if (times_find(p, time, &block, &place))
		return state_at(forest, p->fork, p->blocks[block]->at[place],
		                ret_state);
	return p->whole ? -ENOENT : -EAGAIN;
}

int position_at(struct forest *forest, uint64_t fork, int64_t time,
                struct state **ret_state)
{
	struct positions *p;
	int r = near_nth(forest, fork, time, 1, ret_state);

	if (r != -EAGAIN)
		return r;
	p = positions_get(forest, fork);
	if (!p)
		return -ENOMEM;
	r = known_at(forest, p, time, ret_state);
	if (r != -EAGAIN)
		return r;
	r = positions_extend(forest, p);
	return r ? r : known_at(forest, p, time, ret_state);
}

/* Return the number of the snapshot of exactly this time. */
static int number_at(struct forest *forest, uint64_t fork, int64_t time,
                     uint64_t *ret_number)
{
	uint8_t key[TIME_KEY_LEN];
	struct record record;
	int r;

	time_key(key, fork, time, 0);
	r = table_seek(forest->store, TABLE_TIME, key, sizeof(key), &record);
	if (r < 0)
		return r;
	if (record.key_len != TIME_KEY_LEN || memcmp(record.key, key, 16))
		return -EUCLEAN;
	*ret_number = be64_get(record.key + 16);
	return 0;
}

/* Return a piece of the walk; all times are in memory. */
static int oldest_walk(struct forest *forest, const struct positions *p,
                       struct state_age_walk *walk, uint64_t *ret_numbers,
                       size_t *ret_count)
{
	uint32_t place = 0;
	size_t block = p->blocks_len - 1, count = 0;
	int64_t before = walk->before;
	int r = 0;

	if (walk->keep)
		before = MIN(before, times_nth(p, walk->keep));
	/* Begin after the last one of the piece before, or at the oldest. */
	if (times_find(p, walk->after, &block, &place))
		place++;
	for (; !r && count < STATE_WALK_PIECE; place++) {
		const struct times *times = p->blocks[block];

		if (place == times->len) {
			if (!block)
				break;
			times = p->blocks[--block];
			place = 0;
		}
		if (times->at[place] >= before)
			break;
		walk->after = times->at[place];
		r = number_at(forest, p->fork, walk->after,
		              &ret_numbers[count]);
		count += !r;
	}
	if (!r)
		*ret_count = count;
	return r || count < STATE_WALK_PIECE ? r : -EAGAIN;
}

int state_walk_oldest(struct forest *forest, struct state_age_walk *walk,
                      uint64_t ret_numbers[STATE_WALK_PIECE], size_t *ret_count)
{
	struct positions *p;
	struct state *fork;
	int r = state_get(forest, walk->fork, &fork);

	if (r < 0)
		return r == -ESTALE ? -ENOENT : r;
	*ret_count = 0;
	if (fork->snapshots <= walk->keep)
		return 0;
	p = positions_get(forest, walk->fork);
	if (!p)
		return -ENOMEM;
	if (!p->whole) {
		r = positions_extend(forest, p);
		return r ? r : -EAGAIN;
	}
	return p->count <= walk->keep
	               ? 0
	               : oldest_walk(forest, p, walk, ret_numbers, ret_count);
}

int position_bound(struct forest *forest, uint64_t fork, int64_t *ret_time)
{
	unsigned budget = 1;
	uint8_t key[TIME_KEY_LEN];
	int r;

	time_key(key, fork, INT64_MAX, 0);
	r = time_next(forest, fork, key, &budget);
	if (r && r != -EAGAIN)
		return r;
	/* The time of a deleted snapshot is a bound, too. */
	*ret_time = time_of_key(key);
	return 0;
}
