/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The target of an export: files that are made of frames (export.h). */
#ifndef COPPICE_EXPORT_TARGET_H
#define COPPICE_EXPORT_TARGET_H

#include "export_report.h"

struct export_options {
	const struct path_filter *filter; /* excluded files are kept */
	bool overwrite;                   /* the top may have files */
	bool ask;                         /* see fs_export.ask */
	bool delete;   /* delete files that the state does not have */
	bool checksum; /* compare contents, whatever the times are */
	bool dry_run;
	dev_t store_dev; /* the store's directory, which is not changed */
	ino_t store_ino;
};

/*
 * Make the files that arrive at the socket in the directory `top`, and count
 * them.  In a dry run `top` may be -1: it does not exist.  Files that cannot be
 * made are reported.  0: all frames were received; -EPIPE: the sender ended
 * before; -ENOMEM, -EPROTO, -ENOSPC, -EDQUOT.
 */
int export_target_make(int top, const struct export_options *options,
                       int socket, struct export_report *report);

#endif
