/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The contents of a file that both sides of a join have changed, merged by
 * lines.  Done by libgit2.  Lock NOT held.
 */
#ifndef COPPICE_JOIN_TEXT_H
#define COPPICE_JOIN_TEXT_H

#include "fs.h"

/* A file over this size, or with a zero byte, is no text. */
enum { JOIN_TEXT_MAX = 4 << 20 };

struct join_text {
	char *data;
	size_t len; /* bytes */
};

/*
 * Prepare merging, until join_text_end().  -EOPNOTSUPP: libgit2 is not there, or
 * the program was built without it.
 */
int join_text_begin(void);
void join_text_end(void);

/*
 * Merge what both sides have made of the first base's content.  Return 1 and
 * the text, to be released; 0: the changes overlap, or a content is no text;
 * or an error.
 */
int join_text_merge(const struct fs_joined *joined,
                    const struct join_inode *inode, struct join_text *ret_text);
/* Takes one that is all zero. */
void join_text_release(struct join_text *text);

#endif
