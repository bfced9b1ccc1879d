/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The file `readers` of a store.  Inside store/ only. */
#ifndef COPPICE_MARK_H
#define COPPICE_MARK_H

#include <stdbool.h>

struct store;

/*
 * Open the file, and mark this process as a reader if it reads beside another
 * one.  -EBUSY: the other one has called marks_shut().
 */
int marks_open(struct store *store);
/* Keep other processes from beginning to read.  -EBUSY: one reads. */
int marks_shut(struct store *store);
void marks_open_again(struct store *store);
/* Look for a newer commit.  Called as soon as the lock is taken. */
void view_renew(struct store *store);
/* Return true if there is no newer commit.  Lock held or shared. */
bool view_is_newest(struct store *store);

#endif
