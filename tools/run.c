/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* coppice run: run a command in a new fork. */
#include <errno.h>
#include <jansson.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>

#include "command.h"
#include "escaped_name.h"
#include "property_options.h"
#include "row.h"
#include "run_jobs.h"
#include "run_program.h"
#include "store_access.h"
#include "target.h"
#include "util.h"

enum { COUNT_MAX = 100000 };

static const struct field fields[] = {
        {"index", NULL, FIELD_COUNT, 0},
        {"fork", NULL, FIELD_NAME, 0},
        {"status", NULL, FIELD_COUNT, 0},
        {"signal", NULL, FIELD_COUNT, 0},
        {"outcome", NULL, FIELD_NAME, 0},
        {"kept", NULL, FIELD_BOOL, 0},
        {"message", NULL, FIELD_NAME, 0},
        {"runs", NULL, FIELD_COUNT, 0},
        {0},
};

static const char *const outcomes[] = {
        [RUN_NOT_STARTED] = "not-started",
        [RUN_IS_JOINED] = "joined",
        [RUN_IS_KEPT] = "kept",
        [RUN_IS_DROPPED] = "dropped",
        [RUN_IS_REFUSED] = "refused",
        [RUN_IN_CONFLICT] = "conflict",
};

struct options {
	const char *store, *from, *into, *at, *name;
	const char *count, *jobs, *policy, *retry;
	bool join, keep, drop;
	struct option_list set;
	struct printer printer;
	unsigned failed; /* commands, or their joins */
};

/* ---- Output ------------------------------------------------------------- */

static bool is_kept(const struct run_job *job)
{
	return job->fork.name && job->outcome != RUN_IS_DROPPED &&
	       (job->outcome != RUN_IS_JOINED || job->message);
}

static void print_row(struct printer *printer, const struct run_job *job)
{
	json_auto_t *row = json_pack(
	        "{s:i, s:o?, s:i, s:o, s:s, s:b, s:o?, s:i}", "index",
	        (int)job->index, "fork",
	        job->fork.name ? name_escape(job->fork.name) : json_null(),
	        "status", job->status, "signal",
	        job->signal ? json_integer(job->signal) : json_null(),
	        "outcome", outcomes[job->outcome], "kept", is_kept(job),
	        "message",
	        job->message ? name_escape(job->message) : json_null(), "runs",
	        (int)job->runs);

	if (row)
		printer_row(printer, row);
	fflush(stdout);
}

static void print_message(const struct run_job *job)
{
	if (!is_kept(job))
		return;
	if (job->outcome == RUN_IS_JOINED)
		complain("'%s' is joined, and kept: %s", job->fork.name,
		         job->message);
	else if (job->message)
		complain("%s; '%s' is kept", job->message, job->fork.name);
	else if (job->signal)
		complain("signal %d has ended the command; '%s' is kept",
		         job->signal, job->fork.name);
	else if (job->status)
		complain("the command has failed with %d; '%s' is kept",
		         job->status, job->fork.name);
	else
		complain("'%s' is kept", job->fork.name);
}

static void ended(void *arg, const struct run_job *job)
{
	struct options *o = arg;

	o->failed += job->status != 0;
	if (o->printer.json)
		print_row(&o->printer, job);
	else
		print_message(job);
}

/* ---- The states --------------------------------------------------------- */

struct named {
	char *name; /* full name */
	char *fork; /* of a snapshot: its fork; else the same */
	bool is_snapshot;
};

static void named_release(struct named *named)
{
	free(named->name);
	free(named->fork);
}

static int take_shown(void *arg, json_t *row)
{
	struct named *named = arg;

	named->is_snapshot = json_is_true(json_object_get(row, "snapshot"));
	return answer_name(row, "name", &named->name) ||
	       answer_name(row, named->is_snapshot ? "fork" : "name",
	                   &named->fork);
}

static int show(const char *store, const char *name, struct named *ret_named)
{
	return store_request(store, true,
	                     request_new("show", "name", name, NULL),
	                     take_shown, ret_named, NULL);
}

/*
 * Look up the state to fork.  A name that can only be a fork's needs no
 * request: making the fork fails if there is none.
 */
static int source_find(const char *store, const char *name,
                       struct named *ret_named)
{
	if (name[strcspn(name, "~/")])
		return show(store, name, ret_named);
	ret_named->name = strdup(name);
	ret_named->fork = strdup(name);
	if (ret_named->name && ret_named->fork)
		return EXIT_DONE;
	complain("out of memory");
	return EXIT_FAILED;
}

/*
 * Return the state to fork if the working directory is in none: the default
 * state, or else the only fork.
 */
static int default_source(const char *store, char **ret_name)
{
	json_auto_t *answer = NULL;
	int r = store_request(store, true, request_new("default", NULL), NULL,
	                      NULL, &answer);

	if (r)
		return r;
	if (!json_is_null(json_object_get(answer, "name")))
		return answer_name(answer, "name", ret_name);
	if (json_object_get(answer, "only"))
		return answer_name(answer, "only", ret_name);
	complain("which state? There is no default state: name one with "
	         "--from");
	return EXIT_USAGE;
}

/* Return the name of the forks: SOURCE@run- and eight random digits. */
static int name_make(const char *source, char **ret_name)
{
	unsigned tag;

	if (getrandom(&tag, sizeof(tag), 0) == sizeof(tag) &&
	    asprintf(ret_name, "%s@run-%08x", source, tag) >= 0)
		return EXIT_DONE;
	complain("cannot make a name: %s", strerror(errno));
	return EXIT_FAILED;
}

/* ---- The verb ----------------------------------------------------------- */

static bool number_parse(const char *text, unsigned *ret)
{
	unsigned long value;
	char *end;

	if (!text)
		return true;
	errno = 0;
	value = strtoul(text, &end, 10);
	if (*text < '0' || *text > '9' || *end || errno || !value ||
	    value > COUNT_MAX)
		return false;
	*ret = (unsigned)value;
	return true;
}

/* Read the options into `jobs`.  Return an exit code. */
static int options_read(const struct command *self, const struct options *o,
                        struct run_jobs *jobs)
{
	if (o->join + o->keep + o->drop > 1)
		return command_usage(self, "--join, --keep and --drop exclude "
		                           "each other");
	if ((o->into || o->policy || o->retry) && !o->join)
		return command_usage(self, "--into, --policy and --retry need "
		                           "--join");
	if (o->policy && strcmp(o->policy, "queue") &&
	    strcmp(o->policy, "first"))
		return command_usage(self,
		                     "--policy is queue or first, not '%s'",
		                     o->policy);
	jobs->count = 1;
	if (!number_parse(o->count, &jobs->count))
		return command_usage(self, "'%s' is not a count from 1 to %d",
		                     o->count, COUNT_MAX);
	jobs->at_once = jobs->count;
	if (!number_parse(o->jobs, &jobs->at_once))
		return command_usage(self, "'%s' is not a number from 1 to %d",
		                     o->jobs, COUNT_MAX);
	if (!number_parse(o->retry, &jobs->retries))
		return command_usage(self, "'%s' is not a number from 1 to %d",
		                     o->retry, COUNT_MAX);
	jobs->end = o->join   ? RUN_JOIN
	            : o->keep ? RUN_KEEP
	            : o->drop ? RUN_DROP
	                      : RUN_KEEP_CHANGED;
	jobs->policy = o->policy && !strcmp(o->policy, "first") ? RUN_FIRST
	                                                        : RUN_QUEUE;
	jobs->errors = o->printer.json;
	return EXIT_DONE;
}

static int run_all(struct options *o, struct run_jobs *jobs)
{
	int status;

	jobs->ended = ended;
	jobs->arg = o;
	if (o->printer.json)
		printer_begin(&o->printer);
	status = run_jobs(jobs);
	if (o->printer.json)
		printer_end(&o->printer);
	else if (jobs->count > 1 && o->failed)
		complain("%u of %u have failed", o->failed, jobs->count);
	return finish_output(EXIT_DONE) && !status ? RUN_STATUS_TROUBLE
	                                           : status;
}

/*
 * Refuse --retry unless the fork of a further run contains the joins made
 * meanwhile.  Return an exit code.
 */
static int retry_check(const struct run_jobs *jobs, const struct named *source,
                       const struct named *into)
{
	if (!jobs->retries || !into->name || !strcmp(into->name, source->name))
		return EXIT_DONE;
	complain("--retry would fork '%s' again, which does not have what was "
	         "joined into '%s' meanwhile",
	         source->name, into->name);
	return EXIT_FAILED;
}

/* Find the states and the place, and run.  Return an exit status, or -1. */
static int run_in(struct options *o, struct run_jobs *jobs)
{
	_cleanup_(target_release) struct target target = {0};
	_cleanup_(named_release) struct named source = {0}, into = {0};
	_cleanup_free_ char *here = NULL, *from = NULL, *to = NULL,
	                    *name = NULL;
	int r = target_init(&target, o->store);

	if (!r && o->from)
		r = target_state(&target, o->from, false, &from);
	if (!r && o->into)
		r = target_state(&target, o->into, false, &to);
	if (!r)
		r = target_here(&target, &here);
	if (!r)
		r = target_store(&target);
	if (!r && !from && !here)
		r = default_source(target.store, &from);
	if (!r)
		r = source_find(target.store, from ? from : here, &source);
	if (!r && o->join && (to || source.is_snapshot))
		r = show(target.store, to ? to : source.fork, &into);
	if (!r && into.is_snapshot) {
		complain("cannot join into '%s': it is a snapshot", into.name);
		r = EXIT_FAILED;
	}
	if (!r)
		r = retry_check(jobs, &source, &into);
	if (!r)
		r = run_site_find(target.store, here, source.fork, o->at,
		                  &jobs->site);
	if (!r && !o->name)
		r = name_make(source.name, &name);
	if (r)
		return -1;
	jobs->store = target.store;
	jobs->source = source.name;
	jobs->into = into.name ? into.name : source.name;
	jobs->name = o->name ? o->name : name;
	return run_all(o, jobs);
}

static int run(const struct command *self, int argc, char **argv)
{
	_cleanup_free_ struct run_jobs *jobs = calloc(1, sizeof(*jobs));
	struct options o = {.printer = {.fields = fields}};
	int r;
	const struct command_option options[] = {
	        {"from", .value = &o.from},
	        {"into", .value = &o.into},
	        {"join", .flag = &o.join},
	        {"keep", .flag = &o.keep},
	        {"drop", .flag = &o.drop},
	        {"policy", .value = &o.policy},
	        {"retry", .value = &o.retry},
	        {"at", .value = &o.at},
	        {"name", .value = &o.name},
	        {"set", 'p', .list = &o.set},
	        {"count", .value = &o.count},
	        {"jobs", 'j', .value = &o.jobs},
	        {"json", .flag = &o.printer.json, .value = &o.printer.form},
	        {"store", 's', .value = &o.store},
	        {0},
	};

	if (!jobs) {
		complain("out of memory");
		return RUN_STATUS_TROUBLE;
	}
	if (!command_parse(self, options, 1, INT_MAX, &argc, &argv, &r) ||
	    !printer_check(&o.printer, self, &r) ||
	    !property_options_check(self, &o.set, &r))
		return r ? RUN_STATUS_TROUBLE : EXIT_DONE;
	if (options_read(self, &o, jobs))
		return RUN_STATUS_TROUBLE;
	jobs->argv = argv;
	jobs->set = &o.set;
	r = run_in(&o, jobs);
	return r < 0 ? RUN_STATUS_TROUBLE : r;
}

const struct command command_run = {
        .name = "run",
        .args = "[--from STATE] [--join [--into FORK] [--policy queue|first]\n"
                "               [--retry N] | --keep | --drop] [--at PATH] "
                "[--name NAME]\n"
                "               [-p KEY=VALUE]... [--count N] [-j N] "
                "[--json[=lines]] [-s STORE]\n"
                "               [--] COMMAND [ARG]...",
        .summary = "Run a command in a fork of its own",
        .help = "Makes a fork of STATE and runs COMMAND in it.  COMMAND sees "
                "the fork where the\n"
                "state itself is mounted, so all paths stay the same.  When "
                "COMMAND ends, the\n"
                "fork is kept if COMMAND has changed it, and deleted if not.  "
                "Exits as COMMAND\n"
                "does; 124: not joined, 125: 'coppice run' failed, 126, 127: "
                "COMMAND did not run.\n"
                "\n"
                "      --from=STATE       fork this state (default: the "
                "current directory's)\n"
                "      --join             if COMMAND succeeds, join the fork "
                "and delete it\n"
                "      --into=FORK        join into this fork (default: "
                "STATE)\n"
                "      --policy=queue     if that has changed meanwhile, merge "
                "both (default)\n"
                "      --policy=first     if that has changed meanwhile, do "
                "not join\n"
                "      --retry=N          if the join fails, delete the fork "
                "and run COMMAND\n"
                "                         again, up to N times\n"
                "      --keep             keep the fork in any case\n"
                "      --drop             delete the fork in any case\n"
                "      --at=PATH          let COMMAND see the fork on this "
                "directory\n"
                "      --name=NAME        the fork's name (default: "
                "STATE@run-XXXXXXXX)\n"
                "  -p, --set=KEY=VALUE\n"
                "                         give the fork a property: see "
                "'coppice help set'\n"
                "      --count=N          run COMMAND N times, each in a fork "
                "of its own\n"
                "  -j, --jobs=N           run at most N of them at a time\n"
                "      --json[=lines]     print JSON; COMMAND's output goes to "
                "standard error\n"
                "  -s, --store=STORE      the store's directory\n",
        .run = run,
        .runs_program = true,
};
