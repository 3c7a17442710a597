"""Feedback: who must be told what, by when, by which channel; is the loop closed?"""
