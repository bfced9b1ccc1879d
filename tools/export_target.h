/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The target of an export: files that are made of frames (export.h). */
#ifndef COPPICE_EXPORT_TARGET_H
#define COPPICE_EXPORT_TARGET_H

#include "import_source.h"

/*
 * Make the files that arrive at the socket in the empty directory `top`, and
 * count them.  Files that cannot be made are reported.  0: all frames have
 * come; -EPIPE: the sender ended before; -ENOMEM, -EPROTO.
 */
int export_target_make(int top, int socket, struct import_progress *progress);

#endif
