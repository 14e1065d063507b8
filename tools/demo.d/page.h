/* SPDX-License-Identifier: BSD-2-Clause */
/* The page at /, for people with a browser. */
#ifndef DEMO_PAGE_H
#define DEMO_PAGE_H

#include "report.h"
#include "server.h"

void page_make(struct text *page, struct report *report,
    const struct server *server);

#endif
