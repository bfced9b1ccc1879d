/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Checks of pages before LMDB reads them, because LMDB follows a damaged page
 * to any address.  Inside store/ only.
 */
#ifndef COPPICE_VIEW_PAGE_H
#define COPPICE_VIEW_PAGE_H

#include "page.h"

struct store;
struct view;

/* Check the pages that LMDB reads to find a record.  -EUCLEAN. */
int view_check_records(struct store *store);
/*
 * Check that no page in use is beyond the end of the file; free pages may be.
 * -EBADMSG.
 */
int view_check_length(struct store *store);

typedef int entry_fn(void *arg, const struct page_part *key,
                     const struct page_part *value);
/*
 * Call fn for each entry of a database of the view, in order.  A nonzero result
 * of fn ends the view.  -EUCLEAN.
 */
int view_each_entry(struct view *view, const struct page_tree *tree,
                    entry_fn *fn, void *arg);

#endif
