/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Repair: the symlinks in the directory that lists the forks.  A symlink is
 * kept if its record can be read and no fork has its name.
 */
#include "repair_symlink.h"
#include "symlink.h"
#include "check_record.h"
#include "util.h"

#include <errno.h>

static bool is_by_ino(const struct record *record)
{
	return record->key_len == SYMLINK_KEY_LEN &&
	       record->key[0] == SYMLINK_BY_INO;
}

static int symlink_read(const struct record *record, struct symlink *ret)
{
	int r = symlink_decode(record->value, record->len, ret);

	ret->ino = be64_get(record->key + 1);
	if (!r && (ret->ino < INO_FIRST || ret->ino >= SYMLINK_INO_END))
		r = -EUCLEAN;
	return r;
}

static int plan_one(struct check *check, const struct record *record)
{
	struct repair *repair = container_of(check, struct repair, check);
	struct symlink link;

	if (is_by_ino(record) && !symlink_read(record, &link))
		repair->ino_max = MAX(repair->ino_max, link.ino);
	return 0;
}

int plan_symlinks(struct plan *p)
{
	return check_records_each(p->check, TABLE_SYMLINK, plan_one);
}

/* Return 0 unless a fork, or another symlink, has the name. */
static int name_check_free(struct repair *repair, const struct symlink *link)
{
	uint8_t key[TABLE_KEY_MAX];
	struct record record;
	int r = table_get(repair->store, TABLE_NAME, key,
	                  name_key(key, 0, link->name), &record);

	if (r == -ENOENT)
		r = table_get(repair->store, TABLE_SYMLINK, key,
		              symlink_name_key(key, link->name), &record);
	return r == -ENOENT ? 0 : r ? r : -EEXIST;
}

static int symlink_put(struct repair *repair, const struct symlink *link)
{
	uint8_t key[TABLE_KEY_MAX], value[SYMLINK_LEN_MAX];
	struct writer w = writer_init(value, sizeof(value));
	int r;

	put_varint(&w, link->ino);
	r = table_put(repair->store, TABLE_SYMLINK, key,
	              symlink_name_key(key, link->name), value, writer_len(&w));
	symlink_key(key, link->ino);
	return r ? r
	         : table_put(repair->store, TABLE_SYMLINK, key, SYMLINK_KEY_LEN,
	                     value, symlink_encode(link, value));
}

static int keep_one(struct check *check, const struct record *record)
{
	struct repair *repair = container_of(check, struct repair, check);
	struct symlink link;
	int r;

	if (!is_by_ino(record))
		return 0;
	if (symlink_read(record, &link))
		return repair_report_state(repair, "removed", NULL,
		                           "a symbolic link in the root");
	r = name_check_free(repair, &link);
	if (r == -EEXIST)
		return repair_report_state(
		        repair, "removed", link.name,
		        "a symbolic link in the root had the "
		        "same name");
	return r ? r : symlink_put(repair, &link);
}

int repair_symlinks(struct repair *repair)
{
	return check_records_each(&repair->check, TABLE_SYMLINK, keep_one);
}
