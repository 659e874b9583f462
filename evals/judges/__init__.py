"""Automatic judges of the pairs that people judge; their verdicts have the form of people's.

=====================  =========================================================================
core, run, sealed      what a judge is; judging many pairs, resumable; judging a study, unseen
llm_judge, prompt,     a language model asked in both orders; what it is told; how its words are
reading                read
reward_model           each answer gets a number; the margin decides, with ties
baselines              judges that know nothing, to be beaten
resolve                both orders become one verdict; position bias, injected instructions
flags                  circularity (the judge helped to make an arm) and kinship
registry               the judges a study can name
preference_data,       pairs with a known better answer from the tasks; what a judge is worth on
measure                them
=====================  =========================================================================
"""
