/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Checks of pages before LMDB reads them, because LMDB follows a damaged page
 * to any address.  Inside store/ only.
 */
#ifndef COPPICE_VIEW_PAGE_H
#define COPPICE_VIEW_PAGE_H

struct store;

/* Check the pages that LMDB reads to find a record.  -EUCLEAN. */
int view_check_records(struct store *store);
/*
 * Check that the file is as long as its last page needs; free pages at the end
 * may be missing.  -EBADMSG.
 */
int view_check_length(struct store *store);

#endif
