/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The records of tasks, and which one is next. */
#include "task.h"
#include "forest.h"
#include "util.h"

#include <errno.h>

static void task_key(uint8_t key[TASK_KEY_LEN], enum task_kind kind,
                     uint64_t id)
{
	key[0] = (uint8_t)kind;
	be64_put(key + 1, id);
}

int task_get(struct forest *forest, enum task_kind kind, uint64_t id,
             struct record *ret_record)
{
	uint8_t key[TASK_KEY_LEN];

	task_key(key, kind, id);
	return table_get(forest->store, TABLE_TASK, key, sizeof(key),
	                 ret_record);
}

int task_put(struct forest *forest, enum task_kind kind, uint64_t id,
             const void *value, size_t len)
{
	uint8_t key[TASK_KEY_LEN];
	struct record record;
	int exists = task_get(forest, kind, id, &record);
	int r;

	if (exists && exists != -ENOENT)
		return exists;
	task_key(key, kind, id);
	r = table_put(forest->store, TABLE_TASK, key, sizeof(key), value, len);
	if (r < 0)
		return r;
	forest->gc.first_task[kind] = MIN(forest->gc.first_task[kind], id);
	if (exists == -ENOENT && kind != TASK_STUCK) {
		forest->meta.tasks++;
		meta_mark(forest);
	}
	gc_wake(forest);
	return 0;
}

int task_del(struct forest *forest, enum task_kind kind, uint64_t id)
{
	uint8_t key[TASK_KEY_LEN];
	struct record record;
	int r = task_get(forest, kind, id, &record);

	if (r < 0)
		return r == -ENOENT ? 0 : r;
	task_key(key, kind, id);
	r = table_del(forest->store, TABLE_TASK, key, sizeof(key));
	if (r < 0)
		return r;
	forest->meta.tasks--;
	meta_mark(forest);
	return 0;
}

/* Return true if another process reads the version of a task. */
static bool task_is_marked(struct forest *forest, const struct record *record)
{
	if (!forest->gc.readers ||
	    !store_is_marked(forest->store, be64_get(record->key + 1)))
		return false;
	forest->gc.deferred = true;
	return true;
}

/* Return true if the record is a task of a version that is held. */
static bool task_deferred(struct forest *forest, const struct record *record)
{
	return record->key_len == TASK_KEY_LEN &&
	       (record->key[0] == TASK_MERGE || record->key[0] == TASK_REAP) &&
	       (version_is_held(forest, be64_get(record->key + 1)) ||
	        task_is_marked(forest, record));
}

/*
 * Return the first task of a kind.  -ENOENT.  Tasks of held versions are
 * skipped until gc_resume() is called.
 */
static int task_of_kind(struct forest *forest, enum task_kind kind,
                        struct task *ret_task)
{
	uint64_t *first = &forest->gc.first_task[kind];
	struct record *record = &ret_task->record;
	uint8_t key[TASK_KEY_LEN];
	int r;

	if (*first == UINT64_MAX)
		return -ENOENT;
	task_key(key, kind, *first);
	r = table_seek(forest->store, TABLE_TASK, key, sizeof(key), record);
	while (!r && task_deferred(forest, record))
		r = table_next(forest->store, TABLE_TASK, record->key,
		               record->key_len, record);
	if (!r && (record->key_len != TASK_KEY_LEN || record->key[0] != kind))
		r = -ENOENT;
	if (r == -ENOENT)
		*first = UINT64_MAX;
	if (r < 0)
		return r;
	ret_task->kind = kind;
	ret_task->id = *first = be64_get(record->key + 1);
	return 0;
}

int task_first(struct forest *forest, struct task *ret_task)
{
	static const enum task_kind order[] = {
	        TASK_TIDY, TASK_CLEAR, TASK_MERGE, TASK_REAP, TASK_DROP,
	};
	int r = -ENOENT;

	for (size_t i = 0; r == -ENOENT && i < ARRAY_SIZE(order); i++)
		r = task_of_kind(forest, order[i], ret_task);
	return r;
}
