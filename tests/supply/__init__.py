"""The audit of the packages (`supply/`): licences, bill of materials, vulnerabilities.

test_licences.py         the licences of the locked packages, and of the scripts in the page
test_sbom.py             the bill of materials against CycloneDX's schema
test_update.py           newest versions of the page's packages that fit together
test_vulnerabilities.py  answers of pip-audit and npm audit, and unreachable databases
"""
