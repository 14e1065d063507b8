# SPDX-License-Identifier: BSD-2-Clause
# Draws a benchmark's CSV as PNG and SVG.
# Usage: gnuplot -e "what='hits'; directory='build/perf'" perf/plot.gp
#	what: hits, wake, death or missratio

set datafile separator comma
set datafile missing NaN
file = directory . '/' . what . '.csv'
here = system("dirname '" . ARG0 . "'")
machine = system("head -1 '" . directory . "/machine.txt'")

ours = '#c0392b'
grey = '#7f8c8d'
blue = '#2c7fb8'

if (what eq 'hits') { width = 1350; height = 480 }
if (what eq 'wake') { width = 1200; height = 480 }
if (what eq 'death') { width = 700; height = 480 }
if (what eq 'missratio') { width = 1200; height = 760 }

do for [kind in 'png svg'] {
	if (kind eq 'png') {
		set terminal pngcairo size width, height font 'Sans,11' noenhanced
	} else {
		set terminal svg size width, height font 'Sans,11' noenhanced background 'white'
	}
	set output directory . '/' . what . '.' . kind
	load here . '/plot-' . what . '.gp'
	set output
}
