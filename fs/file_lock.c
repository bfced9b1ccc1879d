/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "file_lock.h"

#include <errno.h>

#include "util.h"

bool file_lock_same_owner(const struct file_lock *a, const struct file_lock *b)
{
	return a->owner.mount == b->owner.mount && a->owner.id == b->owner.id &&
	       a->flock == b->flock;
}

static bool overlap(const struct file_lock *a, const struct file_lock *b)
{
	return a->first <= b->last && b->first <= a->last;
}

static bool adjacent(const struct file_lock *a, const struct file_lock *b)
{
	return (a->last != UINT64_MAX && a->last + 1 == b->first) ||
	       (b->last != UINT64_MAX && b->last + 1 == a->first);
}

bool file_lock_conflicts(const struct file_lock *a, const struct file_lock *b)
{
	return a->flock == b->flock && overlap(a, b) &&
	       a->type != FILE_LOCK_NONE && b->type != FILE_LOCK_NONE &&
	       (a->type == FILE_LOCK_EXCLUSIVE ||
	        b->type == FILE_LOCK_EXCLUSIVE) &&
	       !file_lock_same_owner(a, b);
}

const struct file_lock *lock_list_find(const struct lock_list *list,
                                       const struct file_lock *lock)
{
	const struct file_lock *found = NULL;

	for (const struct held_lock *h = list->first; h; h = h->next) {
		if (file_lock_conflicts(&h->lock, lock) &&
		    (!found || h->lock.first < found->first))
			found = &h->lock;
	}
	return found;
}

/* Return true if the lock splits another one of its owner in two. */
static bool splits(const struct lock_list *list, const struct file_lock *lock)
{
	for (const struct held_lock *h = list->first; h; h = h->next) {
		if (h->lock.first < lock->first && h->lock.last > lock->last &&
		    h->lock.type != lock->type &&
		    file_lock_same_owner(&h->lock, lock))
			return true;
	}
	return false;
}

int lock_list_prepare(const struct lock_list *list,
                      const struct file_lock *lock, bool later, size_t max,
                      struct lock_spare *ret_spare)
{
	struct lock_spare spare = {0};
	size_t needed = 0;

	needed += lock->type != FILE_LOCK_NONE;
	needed += later || splits(list, lock);
	if (needed && *list->total + needed > max)
		return -ENOLCK;
	for (size_t i = 0; i < needed; i++) {
		spare.entries[i] = malloc(sizeof(struct held_lock));
		if (!spare.entries[i]) {
			lock_spare_release(&spare);
			return -ENOLCK;
		}
	}
	*ret_spare = spare;
	return 0;
}

void lock_spare_release(struct lock_spare *spare)
{
	for (size_t i = 0; i < ARRAY_SIZE(spare->entries); i++)
		free(steal(&spare->entries[i]));
}

static void held_add(struct lock_list *list, struct lock_spare *spare,
                     const struct file_lock *lock)
{
	size_t i = spare->entries[0] ? 0 : 1;
	struct held_lock *h = steal(&spare->entries[i]);

	h->lock = *lock;
	h->next = list->first;
	list->first = h;
	++*list->total;
}

static void held_remove(struct lock_list *list, struct held_lock **at)
{
	struct held_lock *h = *at;

	*at = h->next;
	free(h);
	--*list->total;
}

/*
 * Cut the range of the lock out of `old`, which is larger.  If parts are left
 * on both sides, the second is added to the list.
 */
static void cut(struct lock_list *list, struct file_lock *old,
                const struct file_lock *lock, struct lock_spare *spare)
{
	struct file_lock behind = *old;

	behind.first = lock->last + 1; /* only used if old->last is larger */
	if (old->first >= lock->first) {
		*old = behind;
		return;
	}
	if (old->last > lock->last)
		held_add(list, spare, &behind);
	old->last = lock->first - 1;
}

void lock_list_set(struct lock_list *list, const struct file_lock *lock,
                   struct lock_spare *spare)
{
	struct file_lock joined = *lock;
	struct held_lock **at = &list->first;

	while (*at) {
		struct file_lock *old = &(*at)->lock;
		bool join = old->type == lock->type;

		if (!file_lock_same_owner(old, lock) ||
		    (!overlap(old, lock) && !(join && adjacent(old, lock)))) {
			at = &(*at)->next;
		} else if (join) {
			joined.first = MIN(joined.first, old->first);
			joined.last = MAX(joined.last, old->last);
			held_remove(list, at);
		} else if (old->first >= lock->first &&
		           old->last <= lock->last) {
			held_remove(list, at);
		} else {
			/* A part added by cut() no longer overlaps. */
			cut(list, old, lock, spare);
			at = &(*at)->next;
		}
	}
	if (lock->type != FILE_LOCK_NONE)
		held_add(list, spare, &joined);
	lock_spare_release(spare);
}

void lock_list_remove(struct lock_list *list,
                      bool (*matches)(const struct file_lock *lock,
                                      const void *arg),
                      const void *arg)
{
	struct held_lock **at = &list->first;

	while (*at) {
		if (matches(&(*at)->lock, arg))
			held_remove(list, at);
		else
			at = &(*at)->next;
	}
}
