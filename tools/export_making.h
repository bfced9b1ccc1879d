/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Making the files of an export: declarations for export_*.c.
 *
 * A new directory is accessible only to its owner until it is complete; then it
 * gets its attributes.  A file that replaces another is made under a temporary
 * name and renamed.  Symlinks in the target are not followed.
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
	uint64_t number; /* in the frames */
	int fd;          /* -1: it could not be made, or this is a dry run */
	bool fresh;      /* it was made, or would be: it has no other entries */
	char *path;      /* below the top, with a slash before each name */
	struct export_attr attr;
	struct name_set names; /* of the state, if others are to be deleted */
};

struct making {
	int top, socket;
	dev_t dev; /* of the target: nothing is deleted on other devices */
	const struct export_options *options;
	struct export_report *report;
	struct export_delete deletion;
	struct made_dir *dirs; /* the path down to the current one */
	size_t len, room;
	struct export_links links;
	uint8_t verdicts[IMPORT_ENTRIES_MAX]; /* to be sent */
	size_t asked;
	/* The file that DATA belong to. */
	bool open;   /* it was begun, and has not failed */
	bool exists; /* the name existed before */
	char name[NAME_LEN_MAX + 1], temporary[TEMPORARY_LEN];
	struct stat old; /* of the file that it is compared with */
	struct export_content content;
	struct export_attr attr;
};

/* Return the directory that is being filled; NULL: none yet. */
struct made_dir *making_dir(struct making *m);
/* Return the same directory if it has this number, else NULL. */
struct made_dir *making_dir_numbered(struct making *m, uint64_t number);
/* Report a failure.  Return 0, or the error if the export has to end. */
int making_complain(struct making *m, const char *name, int err);
/* Report that a name was added, or changed if it existed. */
void making_change(struct making *m, bool exists, const char *name);

/*
 * Return lstat(2) of a name, all zero if it does not exist, as in a directory
 * that was made.
 */
int making_stat(const struct made_dir *dir, const char *name, struct stat *ret);
/* Return 1 if the rules exclude a name in a directory, 0 if not; -ENOMEM. */
int making_excludes(struct making *m, const struct made_dir *dir,
                    const char *name, bool is_dir);
/*
 * Delete a directory that is in the place of a file.  -ENOTEMPTY: it must not
 * be deleted.
 */
int making_clear(struct making *m, const struct made_dir *dir, const char *name,
                 const struct stat *st);
/*
 * Return the name to make a file under: its own, or, in a directory that was
 * not made, a temporary one, valid until the next call.
 */
const char *making_name(struct making *m, const struct made_dir *dir,
                        const char *name);
/*
 * Rename a file that was made to its own name.  If `err` is not 0, or after an
 * error, remove the file and return the error.
 */
int making_rename(struct making *m, const struct made_dir *dir,
                  const char *made, const char *name, int err);
/*
 * Note the name of a complete file with several names, to link the others to
 * it.  `is_change`: a dry run found that the file would be made or replaced.
 */
int making_link_note(struct making *m, const char *name,
                     const struct import_attr *attr, bool is_change);
/* Report a file that would be added or replaced.  For dry runs. */
int making_foretell(struct making *m, const struct made_dir *dir,
                    const char *name, const struct stat *st,
                    const struct export_attr *attr);

#endif
