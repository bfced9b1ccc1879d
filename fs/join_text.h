/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Merging the lines of a file that both sides of a join have changed, by
 * libgit2.  Lock NOT held.
 */
#ifndef COPPICE_JOIN_TEXT_H
#define COPPICE_JOIN_TEXT_H

#include "fs.h"

/* Most bytes of a text.  A larger file, or one with a zero byte, is none. */
enum { JOIN_TEXT_MAX = 4 << 20 };

struct join_text {
	char *data;
	size_t len; /* bytes */
};

/*
 * Initialize libgit2, until join_text_end().  -EOPNOTSUPP: libgit2 is not
 * installed, or the program was built without it; -ENOMEM.
 */
int join_text_begin(void);
void join_text_end(void);

/*
 * Merge the changes that both sides made to the first base's content.  Return 1
 * and the text, which the caller releases; 0: the changes overlap, or one of
 * the contents is no text; or an error.
 */
int join_text_merge(const struct fs_joined *joined,
                    const struct join_inode *inode, struct join_text *ret_text);
/* Free the text, which may be all zero. */
void join_text_release(struct join_text *text);

#endif
