/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The making of an export's files: what its parts share.
 *
 * A directory is accessible to its owner alone until it is complete, and gets
 * its attributes then.  A file that replaces another is made under a temporary
 * name and renamed.  No symlink in the target is followed.
 */
#ifndef COPPICE_EXPORT_MAKING_H
#define COPPICE_EXPORT_MAKING_H

#include "export_attr.h"
#include "export_content.h"
#include "export_delete.h"
#include "export_links.h"
#include "export_target.h"

/* A directory that is not complete. */
struct made_dir {
	uint64_t number;
	int fd;     /* -1: it could not be made, or this is a dry run */
	bool fresh; /* it was made, or would be, and has nothing else */
	char *path; /* below the top, with a slash before each name */
	struct export_attr attr;
	struct name_set names; /* in the state, if the others are deleted */
};

struct making {
	int top, socket;
	dev_t dev; /* of the target: nothing is deleted on other devices */
	const struct export_options *options;
	struct export_report *report;
	struct export_delete deletion;
	struct made_dir *dirs; /* the way down to the present one */
	size_t len, room;
	struct export_links links;
	uint8_t verdicts[IMPORT_ENTRIES_MAX]; /* to be sent */
	size_t asked;
	/* The file of the DATA that come. */
	bool open; /* it was begun, and could be made until now */
	bool exists;
	char name[NAME_LEN_MAX + 1], temporary[TEMPORARY_LEN];
	struct stat old; /* of the file that it is compared with */
	struct export_content content;
	struct export_attr attr;
};

/* Return the directory that is being filled; NULL: none yet. */
struct made_dir *making_dir(struct making *m);
/* Return it if it has this number, or NULL. */
struct made_dir *making_dir_numbered(struct making *m, uint64_t number);
/* Report a failure, and return the error if the export has to end, or 0. */
int making_complain(struct making *m, const char *name, int err);
/* Report that a name was added, or changed if it existed. */
void making_change(struct making *m, bool exists, const char *name);

/*
 * Return lstat(2) of a name, all zero if it does not exist.  In a directory
 * that was made none does.
 */
int making_stat(const struct made_dir *dir, const char *name, struct stat *ret);
/* Return 1 if the rules exclude a name in a directory, 0 if not; -ENOMEM. */
int making_excludes(struct making *m, const struct made_dir *dir,
                    const char *name, bool is_dir);
/*
 * Make sure that no directory is where a file is to be.  -ENOTEMPTY: there is
 * one that may not be deleted.
 */
int making_clear(struct making *m, const struct made_dir *dir, const char *name,
                 const struct stat *st);
/* Return the name under which a file is made: its own, or a temporary one. */
const char *making_name(struct making *m, const struct made_dir *dir,
                        const char *name);
/*
 * Give a file that was made its own name; or remove it, after an error, which
 * is returned.
 */
int making_rename(struct making *m, const struct made_dir *dir,
                  const char *made, const char *name, int err);
/*
 * Note the name of a file that is complete, for others to be linked with it.
 * `is_change`: a dry run would have replaced it.
 */
int making_link_note(struct making *m, const char *name,
                     const struct import_attr *attr, bool is_change);
/* A dry run: report a file that would be added or replaced. */
int making_foretell(struct making *m, const struct made_dir *dir,
                    const char *name, const struct stat *st,
                    const struct export_attr *attr);

#endif
