/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* coppice prune: delete snapshots by rules. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "command.h"
#include "escaped_name.h"
#include "prune_plan.h"
#include "prune_removals.h"
#include "row.h"
#include "size.h"
#include "target.h"
#include "util.h"

static const struct field fields[] = {
        {"action", "ACTION", FIELD_NAME, -6},
        {"name", "NAME", FIELD_NAME, -32},
        {"reason", "REASON", FIELD_NAME, 0},
        {0},
};

struct prune {
	struct printer printer;
	struct prune_policy policy;
	struct prune_plan plan;
	struct prune_removals removals;
	const char *store;
	const char *rules[RETENTION_REASONS]; /* arguments, by reason */
	struct option_list tags;
	const char *keep_free;
	uint64_t free_bytes;
	bool dry_run;
};

static void prune_release(struct prune *prune)
{
	prune_plan_release(&prune->plan);
	prune_removals_release(&prune->removals);
}

/* ---- Options ------------------------------------------------------------ */

/* Read the rules.  Return an exit code. */
static int policy_read(const struct command *self, struct prune *prune)
{
	struct prune_policy *policy = &prune->policy;

	for (unsigned i = 0; i < RETENTION_REASONS; i++) {
		const char *value = prune->rules[i];

		if (!value || !retention_add(&policy->retention,
		                             retention_reason(i), value))
			continue;
		return command_usage(self,
		                     i < RETENTION_PERIODS
		                             ? "--keep-%s takes a number above "
		                               "0, not '%s'"
		                             : "--keep-%s takes a time such as "
		                               "2y5m7d3h, not '%s'",
		                     retention_reason(i), value);
	}
	if (prune->keep_free &&
	    (size_parse(prune->keep_free, &prune->free_bytes) ||
	     !prune->free_bytes))
		return command_usage(self,
		                     "--keep-free takes a size such as 10G, "
		                     "not '%s'",
		                     prune->keep_free);
	policy->rules = !retention_is_empty(&policy->retention) ||
	                prune->tags.len || prune->keep_free;
	if (!policy->rules && !policy->expired)
		return command_usage(self,
		                     "a policy without rules would remove "
		                     "everything: give a --keep-... option, "
		                     "or --expired");
	policy->now = now_ns();
	return EXIT_DONE;
}

/* ---- Printing ----------------------------------------------------------- */

static void report(void *arg, json_t *row, bool remove, const char *reason)
{
	struct prune *prune = arg;
	json_t *out = json_pack("{s:s, s:O?, s:s}", "action",
	                        remove ? "remove" : "keep", "name",
	                        json_object_get(row, "name"), "reason", reason);

	printer_row(&prune->printer, out);
	json_decref(out);
}

static int report_state(struct prune *prune, const struct prune_state *s)
{
	int r = 0;

	if (s->remove && !s->with_fork)
		r = prune_removals_add(&prune->removals, s);
	/* With --keep-free, removals are reported when they are carried out. */
	if (!prune->free_bytes || !s->remove || s->with_fork)
		report(prune, s->row, s->remove, s->reason);
	return r;
}

/* ---- Rows --------------------------------------------------------------- */

/* Decide about the fork whose rows are complete, and report. */
static int plan_finish(struct prune *prune)
{
	struct prune_plan *plan = &prune->plan;
	int r = prune_plan_make(plan, &prune->policy);

	if (!r && *plan->fork.reason)
		r = report_state(prune, &plan->fork);
	/* --expired alone decides nothing about snapshots without a ttl. */
	for (size_t i = 0; !r && i < plan->len; i++)
		if (*plan->snapshots[i].reason)
			r = report_state(prune, &plan->snapshots[i]);
	prune_plan_release(plan);
	return r || !ferror(stdout) ? r : -EPIPE;
}

static int take_row(void *arg, json_t *row)
{
	struct prune *prune = arg;
	bool snapshot = json_is_true(json_object_get(row, "snapshot"));
	int r = snapshot ? 0 : plan_finish(prune);

	return r ? r : prune_plan_add(&prune->plan, row);
}

static json_t *rows_request(const char *verb, const char *key, const char *fork)
{
	json_t *request = request_new(verb, key, fork, NULL);

	if (request) {
		json_object_set_new(request, "properties",
		                    json_pack("[s]", "ttl"));
		json_object_set_new(request, "all", json_true());
	}
	return request;
}

/* Read the states of a fork, or of all forks (NULL), and decide. */
static int read_fork(struct prune *prune, struct store_access *access,
                     const char *fork)
{
	int r = EXIT_DONE;

	if (fork)
		r = store_access_call(access,
		                      rows_request("show", "name", fork),
		                      take_row, prune, NULL);
	if (!r)
		r = store_access_call(access,
		                      rows_request("list", "fork", fork),
		                      take_row, prune, NULL);
	if (!r && plan_finish(prune) == -ENOMEM) {
		complain("out of memory");
		r = EXIT_FAILED;
	}
	return r;
}

/* ---- Running ------------------------------------------------------------ */

static int prune_store(struct prune *prune, const char *store, char **forks)
{
	struct store_access access;
	int r = store_access_open(&access, store, prune->dry_run), closed;

	if (r)
		return r;
	printer_begin(&prune->printer);
	if (!*forks)
		r = read_fork(prune, &access, NULL);
	for (; !r && *forks; forks++)
		r = read_fork(prune, &access, *forks);
	if (!r && prune->free_bytes)
		r = prune_removals_until_free(&prune->removals, &access,
		                              prune->free_bytes, prune->dry_run,
		                              report, prune);
	else if (!r && !prune->dry_run)
		r = prune_removals_run(&prune->removals, &access);
	printer_end(&prune->printer);
	closed = store_access_close(&access);
	return finish_output(MAX(r, closed));
}

static void free_strings(char ***strings)
{
	for (char **s = *strings; s && *s; s++)
		free(*s);
	free(*strings);
}

static int prune_run(struct prune *prune, int argc, char **argv)
{
	_cleanup_(target_release) struct target target = {0};
	_cleanup_(free_strings) char **forks =
	        calloc((size_t)argc + 1, sizeof(*forks));
	int r = forks ? target_init(&target, prune->store) : EXIT_FAILED;

	target.careful = true;
	for (int i = 0; !r && i < argc; i++) {
		r = target_list(&target, argv[i], &forks[i]);
		if (!r && !forks[i]) {
			complain("'%s' is not a fork", argv[i]);
			r = EXIT_FAILED;
		}
	}
	if (!r)
		r = target_store(&target);
	return r ? r : prune_store(prune, target.store, forks);
}

static int run(const struct command *self, int argc, char **argv)
{
	_cleanup_(prune_release) struct prune prune = {
	        .printer = {.fields = fields}};
	const char **rules = prune.rules;
	int r;
	const struct command_option options[] = {
	        {"store", 's', .value = &prune.store},
	        {"keep-last", 'l', .value = &rules[0]},
	        {"keep-hourly", 'H', .value = &rules[1]},
	        {"keep-daily", 'd', .value = &rules[2]},
	        {"keep-weekly", 'w', .value = &rules[3]},
	        {"keep-monthly", 'm', .value = &rules[4]},
	        {"keep-yearly", 'y', .value = &rules[5]},
	        {"keep-within", .value = &rules[6]},
	        {"keep-within-hourly", .value = &rules[7]},
	        {"keep-within-daily", .value = &rules[8]},
	        {"keep-within-weekly", .value = &rules[9]},
	        {"keep-within-monthly", .value = &rules[10]},
	        {"keep-within-yearly", .value = &rules[11]},
	        {"keep-tag", .list = &prune.tags},
	        {"keep-free", .value = &prune.keep_free},
	        {"expired", .flag = &prune.policy.expired},
	        {"all", .flag = &prune.policy.all},
	        {"dry-run", 'n', .flag = &prune.dry_run},
	        {"json", .flag = &prune.printer.json,
	         .value = &prune.printer.form},
	        {0},
	};

	if (!command_parse(self, options, 0, 1000000, &argc, &argv, &r) ||
	    !printer_check(&prune.printer, self, &r))
		return r;
	r = policy_read(self, &prune);
	return r ? r : prune_run(&prune, argc, argv);
}

const struct command command_prune = {
        .name = "prune",
        .args = "[-s STORE] RULE... [--all] [-n] [--json[=lines]] [FORK...]",
        .summary = "Delete old snapshots by rules",
        .help = "Deletes the snapshots of each fork, or of the given FORKs, "
                "that no rule keeps.\n"
                "A state that a tag holds, the default state, and the newest "
                "snapshot of a fork\n"
                "are never deleted.  Prints what is done with each state, and "
                "why.\n"
                "\n"
                "  -l, --keep-last=N  keep the N newest\n"
                "  -H, --keep-hourly=N, -d, --keep-daily=N, -w, "
                "--keep-weekly=N,\n"
                "  -m, --keep-monthly=N, -y, --keep-yearly=N\n"
                "                     keep the newest of each of the last N "
                "hours, days, ...\n"
                "                     that have one\n"
                "      --keep-within=TIME\n"
                "                     keep those made within the time before "
                "the newest, as\n"
                "                     2y5m7d3h (m is months)\n"
                "      --keep-within-hourly=TIME, --keep-within-daily=TIME,\n"
                "      --keep-within-weekly=TIME, --keep-within-monthly=TIME,\n"
                "      --keep-within-yearly=TIME\n"
                "                     keep the newest of each hour, day, ... "
                "within the time\n"
                "      --keep-tag=TAG keep those that a tag holds, and no "
                "others\n"
                "      --keep-free=SIZE\n"
                "                     delete the oldest first, and only until "
                "SIZE is free\n"
                "      --expired      delete forks and snapshots whose ttl has "
                "passed\n"
                "      --all          delete a fork's newest snapshot, too\n"
                "  -n, --dry-run      print what would be done\n"
                "      --json[=lines] an array of objects, one a line; or only "
                "objects\n"
                "  -s, --store=STORE  the store's directory\n",
        .run = run,
};
