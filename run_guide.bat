@echo off
rem Opens the LeukoBench menu, or runs the command given; makes the environment the first time.
cd /d "%~dp0"
if exist .venv\installed goto run
for %%v in (3.13 3.12 3.11) do if not exist .venv\Scripts\python.exe py -%%v -m venv .venv 2>nul
if not exist .venv\Scripts\python.exe python -m venv .venv 2>nul
if not exist .venv\Scripts\python.exe (
  echo Error: no environment could be made. Install Python 3.11, 3.12 or 3.13 from python.org. 1>&2
  exit /b 1
)
echo Installing the packages of requirements.txt into .venv (minutes, once)
.venv\Scripts\python.exe -m pip install --quiet -r requirements.txt || exit /b 1
type nul > .venv\installed
:run
.venv\Scripts\python.exe run_guide.py %*
