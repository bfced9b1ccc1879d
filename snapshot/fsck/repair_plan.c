/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "repair_plan.h"
#include "util.h"

#include <errno.h>

size_t plan_version_index(struct plan *p, uint64_t id)
{
	struct check_version *v = check_version(p->check, id);

	return v && !v->bad && !v->reaping ? (size_t)(v - p->check->versions)
	                                   : NO_VERSION;
}

int64_t plan_version_created(struct plan *p, uint64_t id)
{
	struct version v = {0};
	struct record record;
	uint8_t key[8];

	be64_put(key, id);
	if (view_record(p->check->view, TABLE_VERSION, key, sizeof(key), false,
	                &record) ||
	    version_decode(record.value, record.len, &v))
		return now_ns();
	return v.created;
}
