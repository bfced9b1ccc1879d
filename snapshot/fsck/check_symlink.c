/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Check the symlinks in the directory that lists the forks. */
#include "check_symlink.h"
#include "symlink.h"
#include "util.h"

#include <errno.h>

/* Read a record.  1: *ret is set; 0: there is none; or an error. */
static int record_read(struct check *check, enum table table, const void *key,
                       size_t key_len, struct record *record)
{
	int r = view_record(check->view, table, key, key_len, false, record);

	if (r < 0)
		return r == -ENOENT || r == -EUCLEAN ? 0 : r;
	return record->key_len == key_len && !memcmp(record->key, key, key_len);
}

static bool names_symlink(const struct record *record, uint64_t ino)
{
	struct reader r = reader_init(record->value, record->len);
	uint64_t named = get_varint(&r);

	return reader_done(&r) && named == ino;
}

static int check_by_ino(struct check *check, const struct record *record)
{
	struct symlink link;
	struct record other;
	uint8_t key[TABLE_KEY_MAX];
	int r;

	if (record->key_len != SYMLINK_KEY_LEN ||
	    symlink_decode(record->value, record->len, &link))
		return check_report(check, "record", NULL,
		                    "the record of a symbolic link in the root "
		                    "is damaged");
	link.ino = be64_get(record->key + 1);
	if (link.ino < INO_FIRST || link.ino >= check->counters[COUNTER_INO])
		return check_report(
		        check, "inode", NULL,
		        "the symbolic link '%s' in the root has the "
		        "number %llu, which was not allocated yet",
		        link.name, (unsigned long long)link.ino);
	r = record_read(check, TABLE_SYMLINK, key,
	                symlink_name_key(key, link.name), &other);
	if (r < 0)
		return r;
	if (!r || !names_symlink(&other, link.ino))
		return check_report(check, "name", NULL,
		                    "the symbolic link '%s' in the root is not "
		                    "found by its name",
		                    link.name);
	r = record_read(check, TABLE_NAME, key, name_key(key, 0, link.name),
	                &other);
	if (r <= 0)
		return r;
	return check_report(check, "name", NULL,
	                    "a symbolic link in the root has the name of the "
	                    "fork '%s'",
	                    link.name);
}

static int check_by_name(struct check *check, const struct record *record)
{
	struct reader r = reader_init(record->value, record->len);
	uint64_t ino = get_varint(&r);
	struct symlink link = {0};
	struct record other;
	uint8_t key[SYMLINK_KEY_LEN];
	int found;

	symlink_key(key, ino);
	found = record_read(check, TABLE_SYMLINK, key, sizeof(key), &other);
	if (found < 0)
		return found;
	/* A damaged record was reported already. */
	if (found && symlink_decode(other.value, other.len, &link))
		return 0;
	if (reader_done(&r) && found &&
	    strlen(link.name) == record->key_len - 1 &&
	    !memcmp(link.name, record->key + 1, record->key_len - 1))
		return 0;
	return check_report(check, "name", NULL,
	                    "the name '%.*s' is that of a symbolic link in the "
	                    "root which is missing",
	                    (int)record->key_len - 1, record->key + 1);
}

static int check_one(struct check *check, const struct record *record)
{
	switch (record->key_len ? record->key[0] : 0) {
	case SYMLINK_BY_INO:
		return check_by_ino(check, record);
	case SYMLINK_BY_NAME:
		return check_by_name(check, record);
	}
	return check_report(check, "record", NULL,
	                    "the record of a symbolic link in the root is "
	                    "damaged");
}

int check_symlinks(struct check *check)
{
	return check_records_each(check, TABLE_SYMLINK, check_one);
}
