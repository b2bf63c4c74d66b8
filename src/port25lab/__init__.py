"""port25lab: an ISP in a box. Which mail-submission paths does a port-25 policy let through, and which rule decided?"""
