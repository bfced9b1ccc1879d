/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The target of an export: files that are made of frames (export.h). */
#ifndef COPPICE_EXPORT_TARGET_H
#define COPPICE_EXPORT_TARGET_H

#include "export_report.h"

struct export_options {
	const struct path_filter *filter; /* what it excludes stays */
	bool overwrite;                   /* the top has files */
	bool ask;                         /* the sender asks about each file */
	bool delete;                      /* what the state does not have */
	bool checksum; /* compare contents, whatever the times are */
	bool dry_run;
	dev_t store_dev; /* a directory that is left alone */
	ino_t store_ino;
};

/*
 * Make the files that arrive at the socket in the directory `top`, and count
 * them.  In a dry run `top` may be -1: there is none.  Files that cannot be
 * made are reported.  0: all frames have come; -EPIPE: the sender ended before;
 * -ENOMEM, -EPROTO.
 */
int export_target_make(int top, const struct export_options *options,
                       int socket, struct export_report *report);

#endif
