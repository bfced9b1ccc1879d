/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Finding the inodes of a new tree that are to be fixed. */
#ifndef COPPICE_SNAPSHOT_REPAIR_VERIFY_H
#define COPPICE_SNAPSHOT_REPAIR_VERIFY_H

#include "repair.h"

/* Count inodes and blocks, and add inodes to be checked to the suspects. */
int repair_verify(struct repair *repair);

#endif
