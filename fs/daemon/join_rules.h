/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The rules for conflicts in a request "join": "ours", "theirs", "keep_both"
 * and "text", each true, or a pattern of paths.
 */
#ifndef COPPICE_JOIN_RULES_H
#define COPPICE_JOIN_RULES_H

#include "control_verb.h"

enum join_rule { RULE_OURS, RULE_THEIRS, RULE_BOTH, RULE_TEXT, RULES };

struct join_rules {
	struct {
		bool all;
		char glob[TREE_PATH_SIZE]; /* "": no pattern */
	} of[RULES];
};

/* Read the rules of the request.  On failure set the error message. */
int join_rules_read(struct control *c, struct join_rules *rules);
/* Return true if lines may be merged in any file. */
bool join_rules_text(const struct join_rules *rules);
/* Return true if the lines of this file may be merged.  Lock NOT held. */
bool join_rules_text_of(const struct join_rules *rules, struct fs *fs,
                        const struct fs_joined *joined,
                        const struct join_inode *inode);
/* Decide a conflict: see join_ops.choose.  Lock NOT held. */
int join_rules_choose(const struct join_rules *rules, struct fs *fs,
                      const struct fs_joined *joined,
                      const struct join_inode *inode, enum join_conflict kind);

#endif
