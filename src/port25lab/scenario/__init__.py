"""What the user writes, read and checked before any lab starts.

catalogue    where topologies, policies and scenarios lie
document     YAML with places
scenario_file  what a scenario file may say
topology     a topology file, run and turned into a plan
policy       a policy folder
rules_file   its rules
checks       a scenario held against the topology, the policies and the servers that it names
questions    a scenario turned into questions
selection    which questions to run: -k and --ref
listing      one line for each thing of the catalogue
"""
