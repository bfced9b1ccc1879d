/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What is told of damaged blocks: a line of the log for each, however often it
 * is met.
 */
#include <errno.h>

#include "engine.h"

/* Of this thread, since it was asked last. */
static __thread bool said;

/* Is it told for the first time?  Beyond so many the oldest are forgotten. */
static bool damage_is_new(struct damage_told *told, uint64_t number)
{
	bool is_new = true;

	pthread_mutex_lock(&told->lock);
	for (size_t i = 0; i < ARRAY_SIZE(told->numbers) && is_new; i++)
		is_new = told->numbers[i] != number;
	if (is_new)
		told->numbers[told->next++ % ARRAY_SIZE(told->numbers)] =
		        number;
	pthread_mutex_unlock(&told->lock);
	return is_new;
}

int store_damaged(struct store *store, uint64_t number, const char *what)
{
	said = true;
	if (damage_is_new(&store->told, number))
		log_error("block %llu of the store '%s' is damaged: %s",
		          (unsigned long long)number, store->path, what);
	return -EUCLEAN;
}

bool store_damage_said(void)
{
	bool was = said;

	said = false;
	return was;
}
