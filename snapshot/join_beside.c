/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Files of theirs that are kept beside ours. */
#include "join_beside.h"

#include <errno.h>

#include "array.h"
#include "util.h"

enum {
	TRIES_MAX = 10000,
	SUFFIX_MAX = 100, /* bytes of a state's name in a file's */
};
/* Numbers in the plan alone, for copies; above those of all inodes. */
static const uint64_t copy_numbers = UINT64_C(1) << 62;

/* Return `len`, or less, so that no character of UTF-8 is cut. */
static size_t whole_characters(const char *text, size_t len)
{
	if (len >= strlen(text))
		return strlen(text);
	while (len && ((uint8_t)text[len] & 0xc0) == 0x80)
		len--;
	return len;
}

/* Write the n-th name to be tried: NAME~SUFFIX, NAME~SUFFIX~2, ... */
static void beside_write(const struct join_ops *ops, const char *name,
                         unsigned n, char ret[NAME_LEN_MAX + 1])
{
	const char *suffix = ops->suffix ? ops->suffix : "";
	char end[SUFFIX_MAX + 16];
	int len = snprintf(end, sizeof(end), "~%.*s",
	                   (int)whole_characters(suffix, SUFFIX_MAX), suffix);

	if (n > 1)
		len += snprintf(end + len, sizeof(end) - (size_t)len, "~%u", n);
	snprintf(ret, NAME_LEN_MAX + 1, "%.*s%s",
	         (int)whole_characters(name, NAME_LEN_MAX - (size_t)len), name,
	         end);
}

/* Find a free name beside another one.  Its string belongs to the plan. */
static int beside_find(struct join_plan *plan, const struct join_name *name,
                       const char **ret_name)
{
	const struct join_ops *ops = plan->ops;
	char text[NAME_LEN_MAX + 1];
	int taken = 1;

	for (unsigned n = 1; taken && n <= TRIES_MAX; n++) {
		const struct join_name beside = {name->parent, text};

		beside_write(ops, name->name, n, text);
		taken = places_find(&plan->places, &beside, 0)
		                ? 1
		                : ops->has_entry(ops->arg, name->parent, text);
		if (taken < 0)
			return taken;
	}
	if (taken)
		return -EEXIST;
	*ret_name = plan_string(plan, text, strlen(text));
	return *ret_name ? 0 : -ENOMEM;
}

int join_move_beside(struct join_plan *plan, struct join_inode *inode,
                     const struct join_name *name)
{
	struct join_move *move;
	const char *to;
	int err = beside_find(plan, name, &to);

	if (err)
		return err;
	move = array_add(&inode->moves, &inode->move_count, &inode->move_room);
	if (!move)
		return -ENOMEM;
	*move = (struct join_move){*name, to};
	plan->again = true;
	return 0;
}

/* Copy theirs' face to a new inode, which has the name alone. */
static int copy_fill(struct join_plan *plan, struct join_inode *copy,
                     const struct join_face *from, uint64_t parent,
                     const char *name)
{
	struct join_face *faces[] = {&copy->faces[JOIN_THEIRS], &copy->result};
	int err = 0;

	for (size_t f = 0; !err && f < ARRAY_SIZE(faces); f++) {
		struct join_face *to = faces[f];

		to->present = true;
		to->ino = from->ino;
		to->inode = from->inode;
		err = face_add_name(plan, to, parent, name, strlen(name));
		for (size_t i = 0; !err && i < from->xattr_count; i++)
			err = face_add_xattr(plan, to, from->xattrs[i].name,
			                     strlen(from->xattrs[i].name),
			                     JOIN_THEIRS);
	}
	copy->content = JOIN_THEIRS;
	copy->copy = true;
	copy->ino = 0;
	return err;
}

int join_split(struct join_plan *plan)
{
	size_t count = plan->count;
	int err = 0;

	for (size_t i = 0; !err && i < count; i++) {
		struct join_inode *inode = plan->refs[i].inode, *copy;
		const struct join_name *name = inode->result.names;
		const char *beside;

		if (inode->stands_for || !inode->beside ||
		    !inode->result.present)
			continue;
		err = beside_find(plan, name, &beside);
		if (err)
			break;
		copy = plan_add(plan, copy_numbers + i);
		if (!copy)
			return -ENOMEM;
		err = copy_fill(plan, copy, &inode->faces[JOIN_THEIRS],
		                name->parent, beside);
		if (!err)
			err = places_insert(&plan->places, copy->result.names,
			                    0, copy);
	}
	return err;
}
