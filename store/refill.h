/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Rewriting sparse leaves, as repack.c planned it.  Inside store/ only. */
#ifndef COPPICE_REFILL_H
#define COPPICE_REFILL_H

struct writing;

/* Write all repacks of the group. */
int repacks_write(struct writing *w);

#endif
