/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* coppice manifest: list everything in a state with digests, and verify it. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "command.h"
#include "manifest_verify.h"
#include "mtree.h"
#include "row.h"
#include "store_access.h"
#include "target.h"
#include "util.h"

static const struct field fields[] = {
        {"path", "", FIELD_NAME, 0},
        {"type", "", FIELD_NAME, 0},
        {"mode", "", FIELD_COUNT, 0},
        {"uid", "", FIELD_COUNT, 0},
        {"gid", "", FIELD_COUNT, 0},
        {"nlink", "", FIELD_COUNT, 0},
        {"sec", "", FIELD_COUNT, 0},
        {"nsec", "", FIELD_COUNT, 0},
        {"size", "", FIELD_COUNT, 0},
        {"link", "", FIELD_NAME, 0},
        {"major", "", FIELD_COUNT, 0},
        {"minor", "", FIELD_COUNT, 0},
        {"sha256", "", FIELD_NAME, 0},
        {"xxh3", "", FIELD_NAME, 0},
        {0},
};

struct output {
	struct printer printer;
	struct manifest_verify *verify; /* NULL: print the manifest */
	bool begun;
};

static void output_begin(struct output *out)
{
	if (out->begun)
		return;
	out->begun = true;
	if (out->printer.json)
		printer_begin(&out->printer);
	else if (!out->verify)
		puts("#mtree");
}

static int on_row(void *arg, json_t *row)
{
	struct output *out = arg;
	struct manifest_entry entry;
	int r;

	output_begin(out);
	if (!out->verify && out->printer.json) {
		printer_row(&out->printer, row);
		return ferror(stdout) ? -EPIPE : 0;
	}
	r = manifest_entry_decode(row, &entry);
	if (r)
		return r;
	if (out->verify)
		manifest_verify_file(out->verify, &entry);
	else
		mtree_print(&entry);
	manifest_entry_release(&entry);
	return ferror(stdout) ? -EPIPE : 0;
}

static int list(struct target *target, const char *arg, const char *hash,
                struct output *out)
{
	_cleanup_free_ char *name = NULL, *path = NULL;
	int r = target_path(target, arg, &name, &path);

	if (!r)
		r = target_store(target);
	if (r)
		return r;
	r = store_request(target->store, true,
	                  request_new("manifest", "name", name, "path", path,
	                              "hash", hash, NULL),
	                  on_row, out, NULL);
	if (!r && out->printer.json)
		printer_end(&out->printer);
	return r;
}

/* Return an exit code of comparisons. */
static int verify(struct target *target, const char *arg, const char *file)
{
	_cleanup_(manifest_verify_release) struct manifest_verify verify = {0};
	struct output out = {.verify = &verify};
	int r = manifest_verify_init(&verify, file);

	if (r)
		return r;
	if (list(target, arg, manifest_verify_hash(&verify), &out))
		return EXIT_TROUBLE;
	r = manifest_verify_end(&verify);
	return finish_output(EXIT_DONE) ? EXIT_TROUBLE : r;
}

static int run(const struct command *self, int argc, char **argv)
{
	_cleanup_(target_release) struct target target = {0};
	struct output out = {.printer.fields = fields};
	const char *store = NULL, *hash = NULL, *file = NULL;
	int r;
	const struct command_option options[] = {
	        {"store", 's', .value = &store},
	        {"hash", .value = &hash},
	        {"verify", .value = &file},
	        {"json", .flag = &out.printer.json, .value = &out.printer.form},
	        {0},
	};

	if (!command_parse(self, options, 1, 1, &argc, &argv, &r) ||
	    !printer_check(&out.printer, self, &r))
		return r;
	if (file && (hash || out.printer.json))
		return command_usage(self, "--verify excludes --hash and "
		                           "--json");
	if (hash && strcmp(hash, "sha256") && strcmp(hash, "xxh3") &&
	    strcmp(hash, "none"))
		return command_usage(self,
		                     "no digest '%s': there are sha256, "
		                     "xxh3 and none",
		                     hash);
	r = target_init(&target, store);
	if (file)
		return r ? EXIT_TROUBLE : verify(&target, argv[0], file);
	if (!hash)
		hash = "sha256";
	if (!r)
		r = list(&target, argv[0], strcmp(hash, "none") ? hash : NULL,
		         &out);
	return finish_output(r);
}

const struct command command_manifest = {
        .name = "manifest",
        .args = "[-s STORE] [--hash=sha256|xxh3|none]\n"
                "               [--json[=lines] | --verify=FILE] STATE[:/PATH]",
        .summary = "List the files of a state with digests, or verify them",
        .help = "Prints a line for each file and directory, as of one instant, "
                "in the format of\n"
                "mtree(5): type, mode, owner, links, time, size, target, and "
                "the digest of the\n"
                "content.  With --verify, prints what differs from such a "
                "list, and exits with 0\n"
                "if nothing differs, 1 if something differs, 2 on trouble.\n"
                "\n"
                "      --hash=DIGEST  sha256 (the default), xxh3 (faster, no "
                "protection against\n"
                "                     forgery), or none\n"
                "      --json[=lines] an array of objects, one a line; or only "
                "objects\n"
                "      --verify=FILE  compare with a manifest; '-' is standard "
                "input\n"
                "  -s, --store=STORE  the store's directory\n",
        .run = run,
};
