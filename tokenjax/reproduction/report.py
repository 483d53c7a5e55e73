"""report"""


def write(study, runs, plan, root, output):
    print("report", output)
