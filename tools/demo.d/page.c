/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The page at /: what this is, reports to click on, commands to copy.  The
 * links work as they are; the script only shows the answer and the headers
 * that say where it came from beside them.
 */
#include "page.h"

#define LINKS 12u
#define LINKS_STRIDE 33u /* spreads the links over the categories */

static const char head[] =
    "<!doctype html>\n"
    "<html lang=\"en\">\n"
    "<meta charset=\"utf-8\">\n"
    "<meta name=\"viewport\" content=\"width=device-width\">\n"
    "<title>shmcache demo</title>\n"
    "<style>\n"
    "body { font: 16px/1.5 sans-serif; max-width: 46em; margin: 2em auto;"
    " padding: 0 1em; color: #222; background: #fff }\n"
    "td { padding: .1em 1.5em .1em 0 }\n"
    "pre { background: #f2f2f2; padding: .8em; overflow: auto }\n"
    "a { color: #0645ad }\n"
    "</style>\n"
    "<h1>A slow report, and a cache that all workers share</h1>\n"
    "<p>Each report is a real SQL query over the orders of a made-up shop:"
    " <em>who bought this also bought &hellip;</em>  It takes some hundred"
    " milliseconds.  With the cache, the first worker that is asked computes"
    " it; whoever asks meanwhile sleeps and gets the same answer; whoever asks"
    " later gets it at once.</p>\n";

static const char script[] =
    "<h2>Answer</h2>\n"
    "<pre id=\"answer\">Choose a report above.</pre>\n"
    "<script>\n"
    "document.querySelector('table').onclick = async function (event) {\n"
    "  if (!event.target.href) return;\n"
    "  event.preventDefault();\n"
    "  const answer = document.getElementById('answer');\n"
    "  answer.textContent = 'waiting ...';\n"
    "  const start = performance.now();\n"
    "  const reply = await fetch(event.target.href);\n"
    "  const body = await reply.text();\n"
    "  const ms = Math.round(performance.now() - start);\n"
    "  const said = ['X-Cache', 'X-Worker', 'X-Waited-Us'].map(\n"
    "    name => name + ': ' + reply.headers.get(name) + '\\n');\n"
    "  answer.textContent = ms + ' ms\\n' + said.join('') + '\\n' + body;\n"
    "};\n"
    "</script>\n"
    "</html>\n";

static void
add_links(struct text *page, struct report *report)
{
	text_add(page, "<table>\n");
	for (unsigned i = 0; i < LINKS; i++) {
		uint32_t product = i * LINKS_STRIDE + 1;
		struct text name;

		if (!report_product(report, product, &name))
			continue;
		text_add(page,
		    "<tr><td>%s"
		    "<td><a href=\"/report/%u\">with the cache</a>"
		    "<td><a href=\"/report/%u?cache=off\">without</a>\n",
		    name.data, product, product);
	}
	text_add(page, "</table>\n");
}

static void
add_commands(struct text *page, const struct server *server)
{
	text_add(page,
	    "<h2>From a terminal</h2>\n"
	    "<pre>\n"
	    "# one request, with the headers that say where the answer came"
	    " from\n"
	    "curl -i http://127.0.0.1:%u/report/2\n"
	    "\n"
	    "# %u at once for a cold key; add ?cache=off to see it without\n"
	    "seq %u | xargs -P %u -I{} curl -s -o /dev/null \\\n"
	    "  -w '%%{time_total} s  %%header{x-cache}\\n'"
	    " http://127.0.0.1:%u/report/3\n"
	    "</pre>\n",
	    server->port, server->workers, server->workers, server->workers,
	    server->port);
}

void
page_make(struct text *page, struct report *report, const struct server *server)
{
	text_clear(page);
	text_add(page, "%s", head);
	add_links(page, report);
	text_add(page,
	    "<p>There are 400 products: <code>/report/1</code> to"
	    " <code>/report/400</code>; an answer is kept for %u seconds.</p>\n",
	    (unsigned)(server->ttl_ms / 1000));
	add_commands(page, server);
	text_add(page, "%s", script);
}
