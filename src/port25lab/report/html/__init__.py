"""The report as one HTML page: it works offline, and no request leaves it.

page      from results to the page: what is embedded, title, digests of script and style
picture   a network as an SVG
page.html, page.css, page.js      the page itself; details are drawn in the browser, when they are asked for
"""
