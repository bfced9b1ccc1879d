/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A change of a record adds an entry to the open group's memtable, or sets the
 * value of one.  To undo it, the entry is removed, or gets its saved value
 * back, so this needs no memory.  The syncing group and the map do not change.
 */
#include "table_undo.h"

#include <errno.h>

/* An entry of the memtable before a change. */
struct noted {
	struct noted *next; /* of the change before */
	bool exists;
	uint8_t *value; /* NULL: it marks a removed record */
	uint32_t len;
	size_t key_len;
	uint8_t key[];
};

struct table_undo {
	struct noted *last;
	size_t removals; /* of the open group at the beginning */
};

int table_undo_begin(struct store *store)
{
	struct table_undo *undo = calloc(1, sizeof(*undo));

	if (!undo)
		return -ENOMEM;
	undo->removals = store->open_txg->removals;
	store->undo = undo;
	return 0;
}

int table_undo_note(struct store *store, const void *key, size_t key_len)
{
	const struct memtable_entry *entry =
	        memtable_get(&store->open_txg->records, key, key_len);
	struct noted *noted = calloc(1, sizeof(*noted) + key_len);

	if (!noted)
		return -ENOMEM;
	if (entry && entry->value) {
		noted->value = malloc(entry->len ? entry->len : 1);
		if (!noted->value) {
			free(noted);
			return -ENOMEM;
		}
		memcpy(noted->value, entry->value, entry->len);
		noted->len = entry->len;
	}
	noted->exists = entry;
	noted->key_len = key_len;
	memcpy(noted->key, key, key_len);
	noted->next = store->undo->last;
	store->undo->last = noted;
	return 0;
}

static void restore(struct memtable *memtable, struct noted *noted)
{
	struct memtable_entry *entry;

	if (!noted->exists) {
		memtable_forget(memtable, noted->key, noted->key_len);
		return;
	}
	entry = memtable_get(memtable, noted->key, noted->key_len);
	free(entry->value);
	entry->value = steal(&noted->value);
	entry->len = noted->len;
	memtable_track(memtable, entry);
}

void table_undo_end(struct store *store, bool undo)
{
	struct table_undo *noting = steal(&store->undo);

	if (undo)
		store->open_txg->removals = noting->removals;
	while (noting->last) {
		struct noted *noted = noting->last;

		noting->last = noted->next;
		if (undo)
			restore(&store->open_txg->records, noted);
		free(noted->value);
		free(noted);
	}
	free(noting);
}
