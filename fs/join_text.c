/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Contents merged by lines. */
#include "join_text.h"

#include <errno.h>
#ifdef HAVE_LIBGIT2
#include <git2.h>
#endif

#include "join_faces.h"
#include "util.h"

void join_text_release(struct join_text *text)
{
	free(text->data);
	*text = (struct join_text){0};
}

#ifdef HAVE_LIBGIT2

int join_text_begin(void)
{
	return git_libgit2_init() < 0 ? -ENOMEM : 0;
}

void join_text_end(void)
{
	git_libgit2_shutdown();
}

static int piece_add(void *arg, const uint8_t *data, uint64_t len)
{
	struct join_text *text = arg;

	/* A hole is zero bytes. */
	if (!data || memchr(data, 0, len))
		return 1;
	memcpy(text->data + text->len, data, len);
	text->len += len;
	return 0;
}

/* Read a content.  1: it is no text. */
static int face_read(const struct fs_joined *joined,
                     const struct join_inode *inode, unsigned face,
                     struct join_text *ret_text)
{
	const struct join_face *from = &inode->faces[face];

	if (from->inode.size > JOIN_TEXT_MAX)
		return 1;
	ret_text->data = malloc(MAX(from->inode.size, 1));
	if (!ret_text->data)
		return -ENOMEM;
	return file_content(joined_tree(joined, face), from->ino,
	                    from->inode.size, piece_add, ret_text);
}

static int lines_merge(const struct join_text *texts,
                       struct join_text *ret_text)
{
	git_merge_file_input inputs[JOIN_BASE + 1] = {0};
	git_merge_file_result result = {0};
	int r;

	for (size_t i = 0; i < ARRAY_SIZE(inputs); i++) {
		inputs[i].version = GIT_MERGE_FILE_INPUT_VERSION;
		inputs[i].ptr = texts[i].data;
		inputs[i].size = texts[i].len;
	}
	if (git_merge_file(&result, &inputs[JOIN_BASE], &inputs[JOIN_OURS],
	                   &inputs[JOIN_THEIRS], NULL) < 0) {
		const git_error *error = git_error_last();

		return error && error->klass == GIT_ERROR_NOMEMORY ? -ENOMEM
		                                                   : 0;
	}
	r = result.automergeable;
	if (r) {
		ret_text->data = malloc(MAX(result.len, 1));
		if (ret_text->data)
			memcpy(ret_text->data, result.ptr, result.len);
		ret_text->len = result.len;
		r = ret_text->data ? 1 : -ENOMEM;
	}
	git_merge_file_result_free(&result);
	return r;
}

int join_text_merge(const struct fs_joined *joined,
                    const struct join_inode *inode, struct join_text *ret_text)
{
	struct join_text texts[JOIN_BASE + 1] = {0}, merged = {0};
	int r = 0;

	for (unsigned f = 0; !r && f < ARRAY_SIZE(texts); f++)
		r = face_read(joined, inode, f, &texts[f]);
	r = r ? MIN(r, 0) : lines_merge(texts, &merged);
	for (unsigned f = 0; f < ARRAY_SIZE(texts); f++)
		join_text_release(&texts[f]);
	if (r == 1)
		*ret_text = merged;
	return r;
}

#else

int join_text_begin(void)
{
	return -EOPNOTSUPP;
}

void join_text_end(void)
{
}

int join_text_merge(const struct fs_joined *joined,
                    const struct join_inode *inode, struct join_text *ret_text)
{
	return -EOPNOTSUPP;
}

#endif
