/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The log of damaged blocks: one line for each, however often it is met. */
#include <errno.h>

#include "engine.h"

/* True if the thread has reported damage since store_damage_reported(). */
static __thread bool said;

/*
 * Return true if the block has not been logged yet.  When the log is full, its
 * oldest numbers are forgotten.
 */
static bool damage_is_new(struct damage_log *log, uint64_t number)
{
	bool is_new = true;

	pthread_mutex_lock(&log->lock);
	for (size_t i = 0; i < ARRAY_SIZE(log->numbers) && is_new; i++)
		is_new = log->numbers[i] != number;
	if (is_new)
		log->numbers[log->next++ % ARRAY_SIZE(log->numbers)] = number;
	pthread_mutex_unlock(&log->lock);
	return is_new;
}

int store_damaged(struct store *store, uint64_t number, const char *what)
{
	said = true;
	if (damage_is_new(&store->damage_log, number))
		log_error("block %llu of the store '%s' is damaged: %s",
		          (unsigned long long)number, store->path, what);
	return -EUCLEAN;
}

bool store_damage_reported(void)
{
	bool was = said;

	said = false;
	return was;
}
