/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The symlinks in the directory that lists the forks.  They belong to no state,
 * and share the name space of the forks.
 *
 *   TABLE_SYMLINK  1, be64 ino   the record
 *   TABLE_SYMLINK  2, name       varint ino
 */
#include "symlink.h"
#include "forest.h"
#include "util.h"

#include <errno.h>
#include <sys/stat.h>

/* ---- Records ------------------------------------------------------------ */

_Static_assert(3 * 10 + INODE_LEN_MAX + NAME_LEN_MAX + SYMLINK_TARGET_MAX <=
                       SYMLINK_LEN_MAX,
               "the longest symlink fits");
_Static_assert((int)SYMLINK_LEN_MAX <= (int)TABLE_VALUE_MAX, "and is a record");

size_t symlink_encode(const struct symlink *link, uint8_t out[SYMLINK_LEN_MAX])
{
	struct writer w = writer_init(out, SYMLINK_LEN_MAX);
	uint8_t inode[INODE_LEN_MAX];
	size_t inode_len = inode_encode(&link->inode, inode);
	size_t name_len = strlen(link->name);
	size_t target_len = strlen(link->target);

	put_varint(&w, inode_len);
	put_bytes(&w, inode, inode_len);
	put_varint(&w, name_len);
	put_bytes(&w, link->name, name_len);
	put_varint(&w, target_len);
	put_bytes(&w, link->target, target_len);
	return writer_len(&w);
}

int symlink_decode(const void *data, size_t len, struct symlink *link)
{
	struct reader r = reader_init(data, len);
	uint64_t inode_len = get_varint(&r);
	const uint8_t *inode =
	        inode_len <= INODE_LEN_MAX ? reader_take(&r, inode_len) : NULL;

	if (!inode || inode_decode(inode, inode_len, &link->inode))
		return -EUCLEAN;
	get_string(&r, get_varint(&r), NAME_LEN_MAX, link->name);
	get_string(&r, get_varint(&r), SYMLINK_TARGET_MAX, link->target);
	if (!reader_done(&r) || name_check_fork(link->name) ||
	    !link->target[0] || !S_ISLNK(link->inode.mode) ||
	    link->inode.size != strlen(link->target))
		return -EUCLEAN;
	return 0;
}

void symlink_key(uint8_t key[SYMLINK_KEY_LEN], uint64_t ino)
{
	key[0] = SYMLINK_BY_INO;
	be64_put(key + 1, ino);
}

size_t symlink_name_key(uint8_t key[TABLE_KEY_MAX], const char *name)
{
	size_t len = strlen(name);

	key[0] = SYMLINK_BY_NAME;
	memcpy(key + 1, name, len);
	return len + 1;
}

static int symlink_read(struct forest *forest, const struct record *record,
                        struct symlink *ret)
{
	struct symlink link = {.ino = be64_get(record->key + 1)};
	int r = symlink_decode(record->value, record->len, &link);

	if (r < 0)
		log_error("the record of the symbolic link %llu in the root "
		          "of '%s' is damaged",
		          (unsigned long long)link.ino,
		          store_path(forest->store));
	else
		*ret = link;
	return r;
}

static int symlink_put(struct forest *forest, const struct symlink *link)
{
	uint8_t key[SYMLINK_KEY_LEN], value[SYMLINK_LEN_MAX];

	symlink_key(key, link->ino);
	return table_put(forest->store, TABLE_SYMLINK, key, sizeof(key), value,
	                 symlink_encode(link, value));
}

static int name_put(struct forest *forest, const struct symlink *link)
{
	uint8_t key[TABLE_KEY_MAX], value[10];
	struct writer w = writer_init(value, sizeof(value));

	put_varint(&w, link->ino);
	return table_put(forest->store, TABLE_SYMLINK, key,
	                 symlink_name_key(key, link->name), value,
	                 writer_len(&w));
}

static int name_del(struct forest *forest, const char *name)
{
	uint8_t key[TABLE_KEY_MAX];

	return table_del(forest->store, TABLE_SYMLINK, key,
	                 symlink_name_key(key, name));
}

/* ---- Finding ------------------------------------------------------------ */

int symlink_get(struct forest *forest, uint64_t ino, struct symlink *ret)
{
	uint8_t key[SYMLINK_KEY_LEN];
	struct record record;
	int r;

	symlink_key(key, ino);
	r = table_get(forest->store, TABLE_SYMLINK, key, sizeof(key), &record);
	if (r < 0)
		return r == -ENOENT ? -ESTALE : r;
	return symlink_read(forest, &record, ret);
}

int symlink_find(struct forest *forest, const char *name, struct symlink *ret)
{
	uint8_t key[TABLE_KEY_MAX];
	struct record record;
	struct reader reader;
	uint64_t ino;
	int r;

	if (strlen(name) > NAME_LEN_MAX)
		return -ENAMETOOLONG;
	r = table_get(forest->store, TABLE_SYMLINK, key,
	              symlink_name_key(key, name), &record);
	if (r < 0)
		return r;
	reader = reader_init(record.value, record.len);
	ino = get_varint(&reader);
	r = reader_done(&reader) ? symlink_get(forest, ino, ret) : -EUCLEAN;
	return r == -ESTALE ? -EUCLEAN : r;
}

int symlink_next(struct forest *forest, uint64_t after, uint64_t *ret_ino)
{
	uint8_t key[SYMLINK_KEY_LEN];
	struct record record;
	int r;

	symlink_key(key, after);
	r = table_next(forest->store, TABLE_SYMLINK, key, sizeof(key), &record);
	if (r < 0)
		return r;
	if (record.key_len != sizeof(key) || record.key[0] != SYMLINK_BY_INO)
		return -ENOENT;
	*ret_ino = be64_get(record.key + 1);
	return 0;
}

/* ---- Changing ----------------------------------------------------------- */

/* Return 0 if neither a fork nor another symlink has the name, else -EEXIST. */
static int name_check_free(struct forest *forest, const char *name)
{
	struct symlink other;
	struct state *state;
	int r = name_check_fork(name);

	if (!r)
		r = state_find(forest, 0, name, &state);
	if (r == -ENOENT)
		r = symlink_find(forest, name, &other);
	return r == -ENOENT ? 0 : r ? r : -EEXIST;
}

int symlink_create(struct forest *forest, struct symlink *link)
{
	int r;

	if (forest->readonly)
		return -EROFS;
	r = name_check_free(forest, link->name);
	if (r < 0)
		return r;
	r = ino_new(forest->store, SYMLINK_INO_END, &link->ino);
	if (r < 0)
		return r;
	r = name_put(forest, link);
	if (!r)
		r = symlink_put(forest, link);
	if (r < 0)
		name_del(forest, link->name);
	return r;
}

int symlink_save(struct forest *forest, const struct symlink *link)
{
	return forest->readonly ? -EROFS : symlink_put(forest, link);
}

int symlink_delete(struct forest *forest, const struct symlink *link)
{
	uint8_t key[SYMLINK_KEY_LEN];
	int r;

	if (forest->readonly)
		return -EROFS;
	r = name_del(forest, link->name);
	symlink_key(key, link->ino);
	return r ? r
	         : table_del(forest->store, TABLE_SYMLINK, key, sizeof(key));
}

int symlink_rename(struct forest *forest, struct symlink *link,
                   const char *name)
{
	char old_name[NAME_LEN_MAX + 1];
	struct symlink other;
	int r;

	if (forest->readonly)
		return -EROFS;
	r = name_check_free(forest, name);
	if (r == -EEXIST && !symlink_find(forest, name, &other))
		r = other.ino == link->ino ? 0 : symlink_delete(forest, &other);
	if (r < 0 || !strcmp(link->name, name))
		return r;
	memcpy(old_name, link->name, sizeof(old_name));
	snprintf(link->name, sizeof(link->name), "%s", name);
	r = name_put(forest, link);
	if (!r)
		r = symlink_put(forest, link);
	return r ? r : name_del(forest, old_name);
}

int symlink_exchange(struct forest *forest, struct symlink *a,
                     struct symlink *b)
{
	char name[NAME_LEN_MAX + 1];
	int r;

	if (forest->readonly)
		return -EROFS;
	memcpy(name, a->name, sizeof(name));
	memcpy(a->name, b->name, sizeof(name));
	memcpy(b->name, name, sizeof(name));
	r = name_put(forest, a);
	if (!r)
		r = symlink_put(forest, a);
	if (!r)
		r = name_put(forest, b);
	return r ? r : symlink_put(forest, b);
}
