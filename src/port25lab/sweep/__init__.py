"""Sweeps: a file with parameters becomes many jobs, each of them a lab, and one file of results for each job.

spec         the file that a user writes
parameters   the values of a parameter: lists, ranges, distributions
jobs         the jobs of a sweep, each made from its number when it is needed
shape        one job's topology, policies and paths, and the questions that they are
store        the folder of a sweep: what it is, its jobs, results, failures
work         one job run in a lab
worker       a process that runs jobs, and the sweep's handle to it
run          a whole sweep: workers, second tries, jobs set aside
cluster      the same on the workers of a Dask cluster
columns      the columns of the tables: types, units, meanings
tables       the tables, made from the results
dataset      the tables with what describes them: a data set
verify       whether results are what was written, and whether a second run finds the same
figures      figures, from the tables alone; figure_spec: what a file may ask for
"""
