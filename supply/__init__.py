"""The packages in the lock files, their licences and their known vulnerabilities.

`make audit` runs `python -m supply`. The service does not use this package.

packages.py         the packages that the lock files list
licences.py         the licences that fit, and the packages whose licence does not
sbom.py             the software bill of materials, in CycloneDX
vulnerabilities.py  known vulnerabilities, from pip-audit and npm audit
__main__.py         all of that, one after another
"""
