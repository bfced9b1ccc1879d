/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The numbers of states.
 *
 * A counter gives each number below the end once.  After that, the counter
 * minus the end is the position of a circular search for numbers of deleted
 * states, so that each number stays unused as long as possible.  The counter is
 * part of every commit: the search continues at its position after a restart,
 * and returns to an earlier one together with the states after a crash.
 *
 * A number is free when nothing in the store or in memory names it; the folders
 * above report which numbers a kernel still uses.
 */
#include "number.h"
#include "array.h"
#include "forest.h"
#include "property_record.h"
#include "util.h"

#include <errno.h>

enum {
	SEARCH_PIECE = 256,  /* numbers checked in one hold of the lock */
	FREE_COST = 8,       /* cost of a number without a state, in checks */
	REMOVED_BUDGET = 16, /* removed records passed in a check */
};

void forest_limit_numbers(struct forest *forest, uint64_t end)
{
	forest->number_end = end;
}

void forest_set_keeper(struct forest *forest,
                       bool (*keeps)(void *arg, uint64_t number), void *arg)
{
	forest->keeps = keeps;
	forest->keeps_arg = arg;
}

bool forest_reuses_numbers(const struct forest *forest)
{
	return atomic_load(&forest->reuses);
}

uint32_t state_generation(const struct state *state)
{
	uint64_t mixed =
	        (uint64_t)state->created * UINT64_C(0x9e3779b97f4a7c15);

	/* The kernel uses a signed number; 0 is for nodes without a state. */
	return (uint32_t)(mixed >> 33) | 1;
}

/* Return true if there is (or may be) a state of this number. */
static bool is_state(struct forest *forest, uint64_t number)
{
	struct record record;
	uint8_t key[8];

	if (cache_find(&forest->states, number))
		return true;
	be64_put(key, number);
	return table_get(forest->store, TABLE_STATE, key, sizeof(key),
	                 &record) != -ENOENT;
}

/* Return true if a key of the table begins (or may begin) with the number. */
static bool is_prefix(struct forest *forest, enum table table, uint64_t number)
{
	unsigned budget = REMOVED_BUDGET;
	struct record record;
	uint8_t key[8];
	int r;

	be64_put(key, number);
	r = table_next_within(forest->store, table, key, sizeof(key), &budget,
	                      &record);
	if (r == -ENOENT)
		return false;
	if (r && r != -EAGAIN)
		return true;
	return record.key_len >= 8 && be64_get(record.key) == number;
}

/* Return true if nothing names a number that no state has. */
static bool number_is_free(struct forest *forest, uint64_t number)
{
	struct record record;
	uint8_t key[8];

	be64_put(key, number);
	return number != forest->meta.default_state &&
	       !is_prefix(forest, TABLE_NAME, number) &&
	       !is_prefix(forest, TABLE_TIME, number) &&
	       !properties_exist(forest->store, number) &&
	       table_get(forest->store, TABLE_ORPHAN, key, sizeof(key),
	                 &record) == -ENOENT &&
	       task_get(forest, TASK_CLEAR, number, &record) == -ENOENT &&
	       !(forest->keeps && forest->keeps(forest->keeps_arg, number));
}

/* Advance the search and return the number at its old position. */
static uint64_t search_step(struct forest *forest)
{
	uint64_t end = forest->number_end;
	uint64_t at = store_counter(forest->store, COUNTER_STATE) - end;

	if (!at || at >= end)
		at = 1;
	store_set_counter(forest->store, COUNTER_STATE, end + at + 1);
	return at;
}

/*
 * Search among at most *left numbers, as many as one hold of the lock allows.
 * -EAGAIN: some are left; -ENOSPC: none are.
 */
static int search_piece(struct forest *forest, uint64_t *left,
                        uint64_t *ret_number)
{
	for (int budget = SEARCH_PIECE; *left && budget > 0; budget--) {
		uint64_t number = search_step(forest);

		--*left;
		if (is_state(forest, number))
			continue;
		if (number_is_free(forest, number)) {
			*ret_number = number;
			return 0;
		}
		budget -= FREE_COST;
	}
	return *left ? -EAGAIN : -ENOSPC;
}

static int number_search(struct forest *forest, uint64_t *ret_number)
{
	uint64_t left = forest->number_end - 1;
	bool released = false;
	int r;

	/* Set before the first search: see fs_confirm(). */
	atomic_store(&forest->reuses, true);
	while ((r = search_piece(forest, &left, ret_number)) == -EAGAIN) {
		if (forest->undo)
			return r; /* the next search continues from here */
		store_unlock(forest->store);
		r = store_yield(forest->store);
		store_lock(forest->store);
		released = true;
		if (r < 0)
			return r;
	}
	return r ? r : released;
}

/* Draw a number that is not reserved.  Return values as of number_draw(). */
static int draw_new(struct forest *forest, uint64_t *ret_number)
{
	int r = store_count(forest->store, COUNTER_STATE, 1, forest->number_end,
	                    ret_number);

	return r == -ENOSPC ? number_search(forest, ret_number) : r;
}

/* Return true if a reserved number has been used since, by a later search. */
static bool was_used(struct forest *forest, uint64_t number)
{
	return is_state(forest, number) || !number_is_free(forest, number);
}

static bool is_reserved(const struct forest *forest, uint64_t number)
{
	for (size_t i = 0; i < forest->reserved_len; i++)
		if (forest->reserved[i] == number)
			return true;
	return false;
}

int forest_reserve_numbers(struct forest *forest, size_t count)
{
	size_t kept = 0;
	uint64_t number;
	int r = 0;

	if (forest->readonly)
		return -EROFS;
	if (!count)
		return 0;
	for (size_t i = 0; i < forest->reserved_len; i++)
		if (!was_used(forest, forest->reserved[i]))
			forest->reserved[kept++] = forest->reserved[i];
	forest->reserved_len = kept;
	while (r >= 0 && forest->reserved_len < count) {
		uint64_t *added;

		r = draw_new(forest, &number);
		if (r < 0)
			break;
		/* A search that has gone round finds the reserved ones. */
		if (is_reserved(forest, number))
			return -ENOSPC;
		added = array_add(&forest->reserved, &forest->reserved_len,
		                  &forest->reserved_room);
		if (!added)
			return -ENOMEM;
		*added = number;
	}
	return r < 0 ? r : 0;
}

int number_draw(struct forest *forest, uint64_t *ret_number)
{
	while (forest->reserved_len) {
		uint64_t number = forest->reserved[--forest->reserved_len];

		if (was_used(forest, number))
			continue;
		*ret_number = number;
		return 0;
	}
	return draw_new(forest, ret_number);
}
