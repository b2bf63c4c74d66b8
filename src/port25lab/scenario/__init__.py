"""What the user writes, read and checked before any lab starts.

catalogue       where topologies, policies and scenarios lie
document        YAML files, with the line and column of each value
scenario_file   the format of scenario files
topology        a topology file, run and turned into a plan
policy          a policy folder
rules_file      the rules of a policy
checks          checks of a scenario against the topology, the policies and the servers that it names
questions       a scenario turned into questions
selection       which questions to run: -k and --ref
snapshot        the files of a router, read into one snapshot
snapshot_text   the bytes of a file become text, or are refused by name
snapshot_parts  a text cut into the outputs that it consists of
snapshot_rules  rules and their families
snapshot_network  interfaces, addresses and routes
anonymise       a snapshot without what tells whose it is
anonymous_addresses  public addresses mapped into documentation ranges
collect.sh      the script that makes a snapshot on a router
listing         one line for each thing of the catalogue
"""
