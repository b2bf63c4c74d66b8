"""Renderings of verdicts: console, JUnit XML, JSON. Each is a pure function of verdicts and needs no lab.

text             text that is safe to print
describe         the parts of a verdict in words
explain          one verdict in words, for all renderings and the pytest plugin
rows             verdicts gathered into the rows of a table
article_rows     the rows S1 … S15 of the article on OP25B
matrix_rows      paths by variants
console          tables, failures and summary for a terminal or a pipe
console_tables   the tables themselves
progress         one live line while labs run
junit            JUnit XML for CI servers
ci_annotations   what GitHub shows at the lines of files
json_file        the result schema as a JSON file
files            result files: checked before a run, replaced in one step after it
streams          standard output and standard error, which may be closed at any time
"""
