/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The first pass over a new tree: what is to be fixed. */
#ifndef COPPICE_SNAPSHOT_REPAIR_VERIFY_H
#define COPPICE_SNAPSHOT_REPAIR_VERIFY_H

#include "repair.h"

/* Count inodes and blocks, and add inodes to be checked to the suspects. */
int repair_verify(struct repair *repair);

#endif
